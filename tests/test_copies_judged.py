"""A head's strength and the threshold for strangers are chosen by images alone in a training too."""

from tenfold.augment.policy import Policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import op
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.models import frozen as frozen_module
from tenfold.recipe import Recipe
from tenfold.train import train_model
from tenfold.transfer.unknown import fit_unknown
from tests.test_copies import MADE
from tests.test_extend import use_tiny, write


def test_a_strength_and_strangers_are_of_images_alone(tmp_path, tmp_path_factory, monkeypatch):
    use_tiny(tmp_path_factory, monkeypatch)
    folder = write(tmp_path / "d", {"bar": 12, "disc": 12, "ring": 12, "arc": 12}, 0)
    table = hashed(read_table(folder))
    saved = save_augmented(table, Policy("p", (op("rotate", 5),)), MADE, tmp_path / "o", Saving(count=2))
    whole = hashed(read_table(saved.listing))
    whole = whole.assign(part=["train"] * len(whole))
    seen = []
    real = frozen_module.choose_strength
    monkeypatch.setattr(frozen_module, "choose_strength", lambda *a, **k: seen.append(k["images"]) or real(*a, **k))
    head = {"backbone": "tiny", "head": "logistic"}
    recipe = Recipe().change(model={"name": "frozen"}, transfer=head, train={"device": "cpu"})
    run = train_model(whole, recipe, tmp_path / "run")
    assert [(int(s.sum()), len(s)) for s in seen] == [(48, 144)]
    alone = train_model(table.assign(part=["train"] * 48), recipe, tmp_path / "run2")
    assert run.model.settings["strength"] == alone.model.settings["strength"]
    found = fit_unknown(run)
    assert found is not None
    assert found.known.sum() <= 48
