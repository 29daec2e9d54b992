"""The most confident mistakes, as pictures: where the labels, the data or the model are at fault."""

from __future__ import annotations

import numpy as np

from tenfold.report.context import Context, Section, render

SHOWN = 24
MISTAKES = """
{% from "pieces.html.j2" import picture %}
{% if items %}
<p>{{ count }} of {{ total }} images were given a wrong class. \
{% if count > items | length %}These are the {{ items | length }} the model was surest of{% else %}\
The surest come first{% endif %}. Look for labels that are wrong before you blame the model.</p>
<ul class="pictures">
{% for item in items %}
<li>{% call picture(item.thumbnail, "true " ~ item.truth ~ ", predicted " ~ item.predicted) %}\
<span class="is">{{ item.truth }}</span> <span class="said">{{ item.predicted }} \
<small>{{ write_value("accuracy", item.probability) }}</small></span>{% endcall %}</li>
{% endfor %}
</ul>
<p class="note"><span class="is">true class</span> · <span class="said">predicted class and its probability</span></p>
{% elif total %}
<p>None: all {{ total }} images were given the right class.</p>
{% else %}
<p>None of the images has a label.</p>
{% endif %}
"""


def mistakes(context: Context) -> Section:
    """Up to SHOWN wrong answers, those with the highest probability first."""
    answers, classes = context.answers, context.run.classes
    wrong = np.flatnonzero(answers.truth != answers.predicted)
    wrong = wrong[np.argsort(-answers.probability[wrong], kind="stable")]
    items = [
        {
            "thumbnail": context.thumbnails[int(answers.sample[index])],
            "truth": classes[answers.truth[index]],
            "predicted": classes[answers.predicted[index]],
            "probability": answers.probability[index],
        }
        for index in wrong[:SHOWN]
    ]
    html = render(MISTAKES, items=items, count=len(wrong), total=len(answers.truth))
    return Section("The most confident mistakes", html)
