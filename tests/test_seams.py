"""The seams carry what they were not written for: each toy goes from Table to evaluation without a change in src/.

One box an image; two optimizers that take turns, with extra state; a model fitted in closed form; and, through the
places that CONTRIBUTING names, a reader and a metric.
"""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from tenfold.estimate import Estimate
from tenfold.evaluate import evaluate_run
from tenfold.images import readers
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.metrics import METRICS, Metric
from tenfold.models import MODELS
from tenfold.models.contract import Losses, Model, Step
from tenfold.run import load_run
from tenfold.split import split_table
from tenfold.tasks import TASKS, Findings, Task
from tenfold.train import loop as loop_module
from tenfold.train import resume_training, train_model
from tests.toys import quick_recipe, shapes_table


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def train_killed_and_resumed(monkeypatch, table, recipe, folder, task):
    """Train twice, once killed in the middle and resumed; the weights must be the same bits."""
    straight = train_model(table, recipe, folder / "straight", task=task)
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)

    def kill(message):
        if message.phase == "step" and message.step == 5:
            raise SystemExit

    with pytest.raises(SystemExit):
        train_model(table, recipe, folder / "killed", task=task, progress=kill)
    resumed = resume_training(folder / "killed")
    one, other = (load_file(run.path / "model.safetensors") for run in (straight, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)
    return load_run(resumed.path)


# One box an image: squares on images that are wider than high, found in the original image's pixels.


class BoxNetwork(Model):
    """Where the bright square is, as its brightness-weighted mean and spread, corrected by a learned scale."""

    def __init__(self, channels, classes, settings):
        super().__init__(channels, classes, settings)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def outputs(self, images):
        weight = torch.softmax(6 * images.mean(1).flatten(1), 1).reshape(len(images), *images.shape[2:])
        place = torch.arange(images.shape[2]) + 0.5
        x, y = (weight.sum(1) * place).sum(1), (weight.sum(2) * place).sum(1)
        half = self.scale * 2
        return {"boxes": torch.stack([x - half, y - half, x + half, y + half], 1)}

    def decode(self, outputs, affine):
        inverse = torch.linalg.inv(torch.cat([affine, torch.tensor([[[0.0, 0, 1]]]).expand(len(affine), 1, 3)], 1))
        return [{"box_xyxy": move(box, back[:2]).numpy()} for box, back in zip(outputs["boxes"], inverse, strict=True)]

    def losses(self, batch):
        found = self.outputs(batch.images)["boxes"]
        wanted = torch.stack([move(box, forth) for box, forth in zip(batch.targets["box"], batch.affine, strict=True)])
        return Losses({"box": (found - wanted).abs().mean()}, {})


def move(box, affine):
    """A box xyxy through an affine map that does not rotate, corners in order again."""
    corners = torch.stack([box[:2], box[2:]]) @ affine[:, :2].T + affine[:, 2]
    return torch.cat([corners.amin(0), corners.amax(0)])


def box_findings(predictions, table, options):
    found = np.array(predictions["box"].tolist())
    wanted = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy()[predictions["sample"]]
    error = float(np.abs(found - wanted).mean())
    return Findings({"corner_error": Estimate(error, 0.9 * error, 1.1 * error, 0.95, len(found), "toy")})


BOX_TASK = Task(
    name="one box",
    targets=lambda table: {"box": table.boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float32)},
    tabulate=lambda prediction, classes: [{"box": prediction["box_xyxy"].tolist()}],
    findings=box_findings,
)


def box_table(folder):
    generator = np.random.default_rng(0)
    sources, boxes = [], []
    folder.mkdir()
    for number in range(40):
        image = np.zeros((60, 100, 3), np.uint8)
        x, y = generator.integers(25, 65), generator.integers(5, 45)
        image[y : y + 10, x : x + 10] = 255
        image[0, 0] = number  # no two are the same bytes
        sources.append(str(folder / f"{number}.png"))
        Image.fromarray(image).save(sources[-1])
        boxes.append((number, x, y, x + 10, y + 10, "square", False))
    frame = pd.DataFrame(boxes, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    return split_table(Table(make_samples({"source": sources}, 40), ("square",), frame))


def test_one_box_an_image_comes_back_in_original_pixels(monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "one box", BOX_TASK)
    monkeypatch.setitem(MODELS, "box", BoxNetwork)
    recipe = quick_recipe(
        image={"size": 24, "margin": 1.0},
        model={"name": "box"},
        augment={"policy": {"op": [{"crop": {"scale": [0.9, 1]}}, {"flip": "horizontal", "probability": 0.5}]}},
        train={"epochs": 20, "lr": 0.05},
    )
    run = train_killed_and_resumed(monkeypatch, box_table(tmp_path / "boxes"), recipe, tmp_path, "one box")
    evaluation = evaluate_run(run, "test")
    assert evaluation.figures["corner_error"].value < 1.5  # pixels of images of 100 x 60
    stored = run.predictions("test")
    assert stored["box"].map(len).eq(4).all()
    assert run.table.boxes is not None
    assert run.predict([np.zeros((60, 100, 3), np.uint8)])[0]["box_xyxy"].shape == (4,)


# A network that learns in stages, from a start that is fitted to the training part.


class StagedNetwork(BoxNetwork):
    """The second scale starts from the images and learns at a tenth of the rate, in the last half alone."""

    def __init__(self, channels, classes, settings):
        super().__init__(channels, classes, settings)
        self.late = nn.Parameter(torch.tensor(1.0))

    def outputs(self, images):
        return {"boxes": super().outputs(images)["boxes"] * self.late}

    def begin(self, batches):
        with torch.no_grad():
            self.late.fill_(1 + sum(float(batch.images.square().mean()) for batch in batches) / 1000)

    def learn(self, done):
        self.late.requires_grad_(done >= 0.5)

    def steps(self):
        return [Step("model", self.losses, [self.scale, self.late], [1.0, 0.1])]


def test_a_network_trained_in_stages_resumes_and_its_start_is_fitted(monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "one box", BOX_TASK)
    monkeypatch.setitem(MODELS, "staged", StagedNetwork)
    seen = []
    monkeypatch.setattr(StagedNetwork, "losses", watched(StagedNetwork.losses, seen))
    recipe = quick_recipe(image={"size": 24, "margin": 1.0}, model={"name": "staged"}, augment={"policy": "none"})
    train_killed_and_resumed(monkeypatch, box_table(tmp_path / "boxes"), recipe, tmp_path, "one box")
    late = [value for training, value in seen if training]
    assert late[0] != 1.0
    half = next(place for place, value in enumerate(late) if value != late[0])
    assert 4 < half < len(late) - 1


def watched(losses, seen):
    def watch(self, batch):
        seen.append((self.training, float(self.late.detach())))
        return losses(self, batch)

    return watch


# Two optimizers that take turns, and state beside the weights.


class ToyAdversaries(Model):
    """A generator of one color and a critic of colors; the critic sees a pool of what was generated before."""

    def __init__(self, channels, classes, settings):
        super().__init__(channels, classes, settings)
        self.color = nn.Parameter(torch.zeros(channels))
        self.critic = nn.Linear(channels, 1)
        self.register_buffer("pool", torch.zeros(8, channels))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def outputs(self, images):
        return {"color": self.color.expand(len(images), -1)}

    def decode(self, outputs, affine):
        return [{"color": color.numpy()} for color in outputs["color"]]

    def generator_losses(self, batch):
        return Losses({"generator": nn.functional.softplus(-self.critic(self.color)).mean()}, {})

    def critic_losses(self, batch):
        if self.training:
            self.pool[self.filled % 8] = self.color.detach() + 0.1 * torch.randn_like(self.color)
            self.filled += 1
        real, false = self.critic(batch.images.mean((2, 3))), self.critic(self.pool)
        loss = nn.functional.softplus(-real).mean() + nn.functional.softplus(false).mean()
        return Losses({"critic": loss}, {"real": real.mean()})

    def losses(self, batch):
        return Losses(self.generator_losses(batch).minimize | self.critic_losses(batch).minimize, {})

    def steps(self):
        return [
            Step("generator", self.generator_losses, [self.color]),
            Step("critic", self.critic_losses, list(self.critic.parameters())),
        ]


COLOR_TASK = Task(
    name="color",
    targets=lambda table: {},
    tabulate=lambda prediction, classes: [{"color": prediction["color"].tolist()}],
    findings=lambda predictions, table, options: Findings(
        {"red": Estimate(float(predictions["color"].str[0].mean()), -9, 9, 0.95, len(predictions), "toy")}
    ),
)


def test_two_optimizers_take_turns_and_extra_state_survives_a_kill(monkeypatch, tmp_path):
    monkeypatch.setitem(TASKS, "color", COLOR_TASK)
    monkeypatch.setitem(MODELS, "adversaries", ToyAdversaries)
    recipe = quick_recipe(model={"name": "adversaries"})
    run = train_killed_and_resumed(monkeypatch, shapes_table(tmp_path / "data"), recipe, tmp_path, "color")
    assert {"train_generator", "train_critic", "train_real", "train_loss"} <= set(run.history.columns)
    assert run.model.filled.item() > 0
    assert run.model.pool.abs().sum() > 0
    assert evaluate_run(run, "validation").figures["red"].n == len(run.table.part("validation"))


# Fitted in closed form.


class NearestMean(MODELS["plain"].__bases__[0]):  # Classifier
    """Nearest class mean of the pixels: logits are minus half the squared distances."""

    def __init__(self, channels, classes, settings):
        super().__init__(channels, classes, settings)
        self.register_buffer("means", torch.zeros(len(classes), channels * 16 * 16))

    def forward(self, images):
        return -(torch.cdist(images.flatten(1), self.means) ** 2) / 2

    def steps(self):
        return []

    def fit(self, batches):
        sums, counts = torch.zeros_like(self.means), torch.zeros(len(self.classes), 1)
        for batch in batches:
            label = batch.targets["label"]
            sums += label.T @ batch.images.flatten(1)
            counts += label.sum(0)[:, None]
        self.means = sums / counts


def test_a_model_fitted_in_closed_form(monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "nearest", NearestMean)
    table = shapes_table(tmp_path / "data")
    run = train_model(table, quick_recipe(model={"name": "nearest"}), tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").unlink()  # killed before the end
    run = resume_training(tmp_path / "run")
    training = run.table.part("train")
    pixels = [np.asarray(Image.open(source).resize((20, 20))) for source in training.samples["source"]]
    images = (np.stack(pixels)[:, 2:18, 2:18] / 255 - run.preprocessing.mean) / run.preprocessing.std
    for place in range(3):
        mean = images[training.labels() == place].mean(0).transpose(2, 0, 1).ravel()
        np.testing.assert_allclose(run.model.means[place].numpy(), mean, atol=1e-4)
    assert evaluate_run(run, "test").figures["accuracy"].n == len(table.part("test"))
    assert len(run.history) == 1


# Through the places that CONTRIBUTING names.


def test_a_reader_is_one_line_in_readers(monkeypatch, tmp_path):
    def read(path):
        content = json.loads(path.read_text())
        samples = make_samples({"source": list(content), "label": list(content.values())}, len(content))
        return Table(samples, tuple(sorted(set(content.values()))))

    toy = readers.Reader("toy", lambda path: path.suffix == ".toy", read)
    monkeypatch.setitem(readers.READERS, "toy", toy)
    (tmp_path / "list.toy").write_text(json.dumps({str(tmp_path / "a.png"): "x", str(tmp_path / "b.png"): "y"}))
    table = read_table(tmp_path / "list.toy")
    assert table.classes == ("x", "y")
    assert len(read_table(tmp_path / "list.toy", reader="toy")) == 2


def test_a_metric_is_one_line_in_metrics(monkeypatch, tmp_path):
    def confidence(truth, probability, predicted):
        return float(probability.max(1).mean())

    monkeypatch.setitem(METRICS, "confidence", Metric(confidence))
    run = train_model(shapes_table(tmp_path / "data"), quick_recipe(train={"epochs": 1}), tmp_path / "run")
    figure = evaluate_run(run, "test").figures["confidence"]
    assert figure.low < figure.value < figure.high
