"""The two streams and ASK's head: what it puts together, what its options change, and that it learns to look."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from ask_lib.errors import ChoiceError, ConfigError, LayerNotFoundError, RangeError, ShapeError
from ask_lib.methods.descriptors import l2_normalize
from ask_lib.methods.dlfs import POINTS, correlation_map, modal_correlation_loss, triplet_correlation_loss
from ask_lib.models import backbones
from ask_lib.models.ask import ASK, WEIGHTS, ASKHead, ASKOptions, NonLocal, ask
from ask_lib.models.backbones import load_backbone
from ask_lib.models.forward import forward_features
from ask_lib.models.two_stream import TwoStream, cut_encoder, encoder, two_stream
from ask_lib.train import Process, Task, TensorData, TrainConfig, fit
from ask_lib.train.data import Batch
from tests.realdata import realdata
from tests.test_backbones import FAMILIES

PLAIN = ASKOptions(keypoints=(3, 0), dropout=0.0)
CHAINS = ["ResNet", "SqueezeNet", "SmallVGG", "SmallResNet", "DenseNet", "ShuffleNetV2"]
LABELS = torch.tensor([0, 1, 0, 2, 1, 0])


def maps(channels: int = 8, side: int = 7, batch: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rgb, depth = (torch.randn(batch, channels, side, side, generator=generator).relu() for _ in range(2))
    return rgb, depth


def head(options: ASKOptions = PLAIN, channels: int = 8) -> ASKHead:
    torch.manual_seed(0)
    return ASKHead(channels, 3, options).eval()


# --- streams ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", CHAINS)
def test_an_encoder_is_the_network_up_to_its_last_maps(family: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("trunc_normal_", "normal_", "kaiming_normal_"):  # drawing them takes most of the time
        monkeypatch.setattr(nn.init, name, lambda tensor, *args, **kwargs: tensor)
    network = backbones._seeded(backbones._spec(FAMILIES[family]), 10, 0).eval()
    images = torch.randn(1, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(encoder(network)(images), forward_features(network, images))


@pytest.mark.parametrize(
    ("name", "layer"),
    [("squeezenet1_1", "features.11"), ("resnet18", "layer3"), ("rooms_resnet", "layer3"), ("rooms_vgg", "relu5_2")],
)
def test_a_cut_encoder_is_the_encoder_in_two_and_shares_its_weights(name: str, layer: str):
    network = load_backbone(name).network
    lower, upper = cut_encoder(network, layer)
    images = torch.randn(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(upper(lower(images)), forward_features(network, images))
    own = {id(parameter) for parameter in network.parameters()}
    assert own >= {id(parameter) for part in (lower, upper) for parameter in part.parameters()}
    assert name == "rooms_vgg" or len(list(upper.parameters()))


def test_where_no_cut_is_the_error_says_so():
    with pytest.raises(LayerNotFoundError, match="no place to cut"):
        cut_encoder(load_backbone("rooms_resnet").network, "fc")
    with pytest.raises(LayerNotFoundError, match="no chain"):
        encoder(backbones._torchvision("googlenet", 10, aux_logits=False, init_weights=False))


def test_each_stream_sees_its_own_images_and_maps_are_averaged():
    streams = two_stream("rooms_resnet", "rooms", "none", size=(7, 7)).eval()
    images = torch.rand(2, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    rgb, depth = streams(images, images.flip(3))
    first, second = load_backbone("rooms_resnet", "rooms"), load_backbone("rooms_resnet", seed=1)
    for found, network, x in ((rgb, first, images), (depth, second, images.flip(3))):
        expected = functional.adaptive_avg_pool2d(network.forward_features(x), (7, 7))
        torch.testing.assert_close(found, expected)
    assert two_stream("rooms_resnet", "rooms")(images, images)[0].shape == (2, 128, 8, 10)


@pytest.mark.realdata
def test_the_places365_weights_make_both_streams():
    path = realdata("weights", "squeezenet1_1_places365.pt")
    whole = ask("squeezenet1_1_places365", 10, path, size=(7, 7), options=ASKOptions(keypoints=(16, 4))).eval()
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rgb, depth = whole.streams(images, images)
        outputs = whole(images, images)
    assert torch.equal(rgb, depth) and rgb.shape == (1, 512, 7, 7) and rgb.min() < 0  # leaky
    assert outputs.logits.shape == (1, 10) and [len(k[0]) for k in outputs.keypoints] == [16, 4]
    assert outputs.selections[1].maps is not None and outputs.selections[1].maps.shape == (1, 4, 3, 3)
    torch.testing.assert_close(correlation_map(rgb, depth), torch.ones(1, 7, 7))


# --- the head -----------------------------------------------------------------------------------------------------


def test_ask_14_and_15_by_hand():
    """Tags: [ASK-14] and [ASK-15]."""
    rgb, depth = maps()
    made = head()
    outputs = made(rgb, depth)
    g = []
    for describe, x in zip(made.describe, (rgb, depth), strict=True):
        linear = next(module for module in describe.modules() if isinstance(module, nn.Linear))
        g.append(linear(x.mean(dim=(2, 3))).relu())
    local = [x.flatten(1) for x in (outputs.selections[0].rgb, outputs.selections[0].depth)]
    assert g[0].shape == (6, 6)  # three quarters of the channels
    torch.testing.assert_close(outputs.logits, made.classify(torch.cat([*g, *local], dim=1)))
    for found, linear, x in zip(outputs.auxiliary, made.auxiliary, g, strict=True):
        torch.testing.assert_close(found, linear(x))
    assert ASKHead(512, 10).describe[0][3].out_features == 384  # type: ignore[index,union-attr]


def test_ask_16_the_terms_and_their_weights():
    """Tag: [ASK-16]. Two scales, summed."""
    made, (rgb, depth) = head(replace(PLAIN, keypoints=(3, 2), mining="all")), maps()
    outputs = made(rgb, depth)
    loss = made.loss(outputs, LABELS)
    cross_entropy = functional.cross_entropy
    correlation = information = torch.tensor(0.0)
    for scale, (drawn, _, e_rgb, e_depth) in zip(made.scales, outputs.selections, strict=True):
        triplets = (triplet_correlation_loss(e, LABELS, mining="all") for e in (e_rgb, e_depth))
        correlation = correlation + sum(triplets) + modal_correlation_loss(e_rgb, e_depth)
        information = information + scale.information(drawn, LABELS)  # type: ignore[operator]
    expected = {
        "main": cross_entropy(outputs.logits, LABELS),
        "auxiliary": sum(cross_entropy(one, LABELS) for one in outputs.auxiliary),
        "information": information,
        "correlation": correlation,
    }
    for name, term in expected.items():
        torch.testing.assert_close(getattr(loss, name), term)
    main, auxiliary, l_vi, l_c = expected.values()
    torch.testing.assert_close(loss.total, main + auxiliary + 0.1 * l_vi + 0.1 * l_c)
    only = made.loss(outputs, LABELS, weights={"main": 2.0, "auxiliary": 0.0, "information": 0.0, "correlation": 0.0})
    torch.testing.assert_close(only.total, 2 * main)
    with pytest.raises(ChoiceError, match="information"):
        made.loss(outputs, LABELS, weights={"informations": 0.0})


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("keypoints", [(0, 0), (1, 0), (5, 2), (0, 2)])
@pytest.mark.parametrize("local_only", [False, True])
def test_every_row_of_the_table_trains(points: str, keypoints: tuple[int, int], local_only: bool):
    if local_only and not any(keypoints):
        with pytest.raises(ConfigError, match="local_only"):
            ASKOptions(keypoints=keypoints, local_only=True)
        return
    made, (rgb, depth) = head(ASKOptions(keypoints=keypoints, points=points, local_only=local_only)).train(), maps()
    outputs = made(rgb, depth)
    loss = made.loss(outputs, LABELS)
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())  # nothing stands idle
    assert outputs.logits.shape == (6, 3) and len(outputs.auxiliary) == (0 if local_only else 2)
    assert [k.shape for k in outputs.keypoints] == [(6, k, 2) for k in keypoints if k]
    learned = points in ("both", "rgb", "depth") and any(keypoints)
    assert (loss.information != 0) == learned and (loss.correlation > 0) == any(keypoints)
    assert (loss.auxiliary == 0) == local_only


def test_options_change_what_they_name():
    rgb, depth = maps()
    unit = head(replace(PLAIN, normalize=True))
    scaled = unit.scales[0](5 * rgb, depth)[1][0].view(6, 3, 8)  # type: ignore[operator]
    torch.testing.assert_close(scaled, l2_normalize(scaled))
    mean = head(replace(PLAIN, average=True))
    joint = head()
    joint.load_state_dict(mean.state_dict())
    outputs = joint(rgb, depth)
    torch.testing.assert_close(mean(rgb, depth).logits, (outputs.logits + sum(outputs.auxiliary)) / 3)
    narrow = head(replace(PLAIN, local_width=2, width=5))
    assert narrow.classify.in_features == 2 * 5 + 2 * 3 * 2
    sizes = {k: head(replace(PLAIN, keypoints=(3, 1), kernel=k))(rgb, depth).selections[1].maps for k in (1, 3)}
    assert [tuple(x.shape[2:]) for x in sizes.values() if x is not None] == [(4, 4), (3, 3)]
    (before,) = head()(rgb, depth).keypoints
    for one, moves in (({"temperature": 0.2}, True), ({"grouping": "single"}, True), ({"dropout": 0.3}, False)):
        (after,) = head(replace(PLAIN, **one))(rgb, depth).keypoints
        assert torch.equal(before, after) != moves


def test_without_the_main_term_the_auxiliary_heads_train_apart():
    """Table I's rows of one modality: neither stream's head feels the other's maps."""
    made, (rgb, depth) = head(replace(PLAIN, keypoints=(0, 0))), maps()
    grads = []
    for other in (depth, depth + 1):
        made.zero_grad()
        made.loss(made(rgb, other), LABELS, weights={"main": 0.0}).total.backward()
        grads.append([p.grad.clone() for p in (*made.describe[0].parameters(), *made.auxiliary[0].parameters())])
    assert all(torch.equal(*pair) for pair in zip(*grads, strict=True))


def test_attention_begins_as_nothing_and_equals_its_loops():
    rgb, depth = maps()
    plain, attentive = head(replace(PLAIN, keypoints=(0, 0))), head(replace(PLAIN, keypoints=(0, 0), attention=True))
    plain.load_state_dict({k: v for k, v in attentive.state_dict().items() if not k.startswith("attend")})
    torch.testing.assert_close(attentive(rgb, depth).logits, plain(rgb, depth).logits)
    block, x = NonLocal(4), torch.randn(1, 4, 2, 3, generator=torch.Generator().manual_seed(0))
    nn.init.normal_(block.out.weight)
    cells = [x[0, :, at // 3, at % 3] for at in range(6)]
    query, key, value = (
        [block.embed.weight[part, :, 0, 0] @ cell + block.embed.bias[part] for cell in cells]  # type: ignore[index]
        for part in (slice(0, 2), slice(2, 4), slice(4, 6))
    )
    for at, cell in enumerate(cells):
        weights = torch.stack([query[at] @ k for k in key]).exp()
        mean = sum(w * v for w, v in zip(weights / weights.sum(), value, strict=True))
        torch.testing.assert_close(block(x)[0, :, at // 3, at % 3], cell + block.out(mean))


def test_extreme_maps_and_a_batch_of_one_class_stay_finite():
    made = head(replace(PLAIN, keypoints=(3, 2)))
    for scale, labels in ((1e12, torch.zeros(6, dtype=torch.long)), (0.0, LABELS)):
        rgb, depth = (x.mul(scale).requires_grad_() for x in maps())
        loss = made.loss(made(rgb, depth), labels)
        loss.total.backward()
        assert all(term.isfinite() for term in loss)
        assert rgb.grad is not None and rgb.grad.isfinite().all()


def test_a_term_of_weight_0_is_not_added():
    made, (rgb, depth) = head(), maps()
    made.scales[0].information.log_sigma.data.fill_(-100)  # type: ignore[union-attr,operator]
    loss = made.loss(made(rgb, depth), LABELS, weights={"information": 0})
    assert loss.information.isinf() and loss.total.isfinite()
    loss.total.backward()
    grads = {name: parameter.grad for name, parameter in made.named_parameters()}
    assert {name for name, grad in grads.items() if grad is None} == {name for name in grads if "information" in name}
    assert all(grad.isfinite().all() for grad in grads.values() if grad is not None)


def test_local_features_are_dropped_only_where_it_is_asked():
    rgb, depth = maps()
    for dropped, whole in (("dropout", True), ("local_dropout", False)):
        made = head(ASKOptions(keypoints=(3, 0), **{dropped: 0.5})).train()  # type: ignore[arg-type]
        selection, local = made.scales[0](rgb + 1, depth + 1)
        assert torch.equal(local[0], selection.rgb.flatten(1)) == whole


def test_images_or_kept_maps_give_the_same():
    network, options = load_backbone("rooms_resnet", "rooms").network, replace(PLAIN, keypoints=(4, 2))
    lower, upper = cut_encoder(network, "layer3")
    images = torch.rand(2, 3, 120, 160, generator=torch.Generator().manual_seed(0))
    made = head(options, channels=128)
    whole, upon = ASK(TwoStream(encoder(network), encoder(network)), made), ASK(TwoStream(upper, upper), made)
    with torch.no_grad():
        expected, kept = whole(images, images).logits, lower(images)
        assert torch.equal(upon(kept, kept).logits, expected)
        assert torch.equal(made(upper(kept), upper(kept)).logits, expected)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "rooms_resnet", "rooms_vgg"])
def test_a_whole_network_on_each_backbone(name: str):
    made = ask(name, 5, options=ASKOptions(keypoints=(4, 0)))
    images = torch.rand(2, 3, 128, 160, generator=torch.Generator().manual_seed(0))
    loss = made.head.loss(made(images, images), torch.tensor([0, 3]))
    loss.total.backward()
    assert all(p.grad is not None for p in made.parameters())  # no classifier is left over
    assert made.head.channels == made.streams(images, images)[0].shape[1]


def test_wrong_maps_and_options_are_refused():
    rgb, depth = maps()
    with pytest.raises(ShapeError, match="rgb"):
        head(channels=16)(rgb, depth)
    with pytest.raises(ShapeError, match="depth"):
        head()(rgb, depth[:, :, :3])
    with pytest.raises(RangeError, match="cells"):
        head(replace(PLAIN, keypoints=(1, 1)))(rgb[:, :, :2], depth[:, :, :2])
    with pytest.raises(ChoiceError, match="strongest"):
        ASKOptions(points="strong")
    with pytest.raises(ChoiceError, match="kernel"):
        ASKOptions(kernel=2)
    for keypoints in ((-1, 0), (2, 2, 2), (2,)):
        with pytest.raises(RangeError, match="keypoints"):
            ASKOptions(keypoints=keypoints)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [("margin", float("nan")), ("margin", float("inf")), ("temperature", 0.0), ("floor", -1.0),
     ("floor", float("inf")), ("dropout", 1.5), ("local_dropout", -0.1)],
)  # fmt: skip
def test_numbers_out_of_range_are_named(name: str, value: float):
    with pytest.raises(RangeError, match=f"^{name}"):
        ASKOptions(points="grid", **{name: value})  # type: ignore[arg-type]


def test_in_bfloat16_the_head_gives_nearly_the_same():
    rgb, depth = maps()
    made = head(replace(PLAIN, keypoints=(3, 2), attention=True, mining="batch-hard"))
    expected = made.loss(made(rgb, depth), LABELS)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = made(rgb.bfloat16(), depth.bfloat16())
        found = made.loss(outputs, LABELS)
    assert all(keypoints.dtype == torch.float32 for keypoints in outputs.keypoints)
    torch.testing.assert_close(torch.stack(found).float(), torch.stack(expected), rtol=0.02, atol=0.02)


# --- it learns ----------------------------------------------------------------------------------------------------


def toy(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps of noise with one object in one cell, whose second half of channels says the class; labels; its (x, y)."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (count,), generator=generator)
    place = torch.randint(7, (count, 2), generator=generator)
    both = 0.1 * torch.randn(2, count, 8, 7, 7, generator=generator)
    at = torch.arange(count)
    both[:, at, 0, place[:, 1], place[:, 0]] += 2  # "an object is here", whatever its class
    both[:, at, 4 + labels, place[:, 1], place[:, 0]] += 2
    return both[0], both[1], labels, place


def distance(made: ASKHead, rgb: torch.Tensor, depth: torch.Tensor, place: torch.Tensor) -> float:
    """From the nearest keypoint to the object, in cells, the mean over images."""
    with torch.no_grad():
        apart = made(rgb, depth).keypoints[0] - place[:, None]
    return apart.norm(dim=2).amin(dim=1).mean().item()


def test_points_go_to_the_object_from_class_labels_alone():
    """No one says where the object is; the grid of as many points stays farther off, and classifies worse."""
    rgb, depth, labels, _ = toy(256, 0)
    found = {}
    for points in ("both", "grid"):
        made = head(ASKOptions(keypoints=(2, 0), local_only=True, points=points, dropout=0.0))
        optimizer = torch.optim.Adam(made.parameters(), lr=0.02)
        for _ in range(80):
            optimizer.zero_grad()
            made.loss(made(rgb, depth), labels, weights={"information": 0.0, "correlation": 0.0}).total.backward()
            optimizer.step()
        new_rgb, new_depth, new_labels, new_place = toy(256, 1)
        right = (made(new_rgb, new_depth).logits.argmax(dim=1) == new_labels).float().mean().item()
        found[points] = (distance(made, new_rgb, new_depth, new_place), right)
    assert found["both"][0] < 0.5 and found["both"][1] > 0.95
    assert found["grid"][0] > 1.5 and found["grid"][1] < 0.6


def test_the_shared_loop_trains_it_on_kept_maps():
    """As the experiments do: maps and labels in, the loss terms watched, the logits judged."""
    rgb, depth, labels, _ = toy(200, 0)
    made = head(ASKOptions(keypoints=(2, 0), dropout=0.0))
    first = made.loss(made(rgb, depth), labels).main.item()

    def step(network: ASKHead, batch: Batch, generator: torch.Generator) -> dict[str, torch.Tensor]:
        outputs = network(batch.inputs["rgb"], batch.inputs["depth"])
        return network.loss(outputs, batch.labels, generator=generator)._asdict()

    task = Task(
        network=made,
        step=step,
        predict=lambda network, inputs: network(inputs["rgb"], inputs["depth"]).logits,
        num_classes=3,
        train=TensorData({"rgb": rgb, "depth": depth}, labels),
        weights=dict.fromkeys(WEIGHTS, 0.0),  # the total counts them
    )
    config = TrainConfig(epochs=3, batch=25, optimizer="adam", lr=0.01)
    outcome = fit(task, config, process=Process(torch.device("cpu")), progress=False)
    terms = outcome.history[-1]["terms"]
    assert terms["main"] < first
    assert terms["total"] == pytest.approx(sum(WEIGHTS[name] * terms[name] for name in WEIGHTS), rel=1e-4)
