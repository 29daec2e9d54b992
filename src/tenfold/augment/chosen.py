"""The policy that a recipe asks for: by name, by file, or as it stands in the recipe."""

from __future__ import annotations

import dataclasses

from tenfold.augment.policy import Policy
from tenfold.augment.published import find_policy, named_policy
from tenfold.recipe import AugmentSettings, PolicySetting


def read_policy(setting: PolicySetting) -> Policy:
    """The policy of a name ("auto" is "standard"), of a TOML file, or of tables as such a file has them.

    Raises UsageError for an unknown name or an impossible setting, DataError for a file that cannot be read.
    """
    if isinstance(setting, dict):
        return Policy.from_dict(setting)
    return named_policy("standard") if setting == "auto" else find_policy(setting)


def chosen_policy(settings: AugmentSettings) -> Policy:
    """The policy of a recipe, the share of its images that are mixed as the recipe settles it."""
    policy = read_policy(settings.policy)
    if settings.mix_share < 0:
        return policy
    return dataclasses.replace(policy, mix=dataclasses.replace(policy.mix, share=settings.mix_share))
