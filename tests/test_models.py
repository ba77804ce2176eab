import pytest
import torch
from plain_models import PlainAttention, PlainLSTM

from emotion_ray.errors import EmotionRayError
from emotion_ray.models.architectures import build, told_by_weights, with_weights
from emotion_ray.models.backbone import to_input
from emotion_ray.models.lstm import in_one_piece
from emotion_ray.settings import AttentionSettings, LSTMSettings

DEFAULTS = {"lstm": LSTMSettings(), "attention": AttentionSettings()}
OTHERS = [
    ("lstm", LSTMSettings(hidden_size=12, layers=2, bidirectional=True, dropout=0.3)),
    ("lstm", LSTMSettings(hidden_size=20, layers=3)),
    ("attention", AttentionSettings(embedding=24, heads=3, layers=2, feed_forward=40, norm="pre")),
    ("attention", AttentionSettings(embedding=16, heads=2, layers=3, feed_forward=8, dropout=0.0)),
]
ALL = [*DEFAULTS.items(), *OTHERS]
names = [f"{architecture}-{place}" for place, (architecture, _) in enumerate(ALL)]


def small(architecture, sizes, frames=7, size=16):
    torch.manual_seed(1)
    return build(architecture, sizes, frames, size, classes=8).double().eval()


def noise(clips=3, frames=7, size=16):
    return torch.rand(clips, frames, 3, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("plain", [PlainLSTM, PlainAttention])
def test_baseline_weights_give_the_baseline_logits(plain):
    torch.manual_seed(0)
    reference = plain().eval()
    weights = reference.state_dict()
    model = with_weights(*told_by_weights(weights), weights)
    assert set(model.state_dict()) == set(weights)
    frames = torch.rand(2, 60, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model(frames), reference(frames), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize("plain", [PlainLSTM, PlainAttention])
def test_gradients_are_the_plain_models(plain):
    torch.manual_seed(0)
    reference = plain(size=16).double().eval()
    weights = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    architecture, sizes, frames, size, classes = told_by_weights(weights)
    model = with_weights(architecture, sizes, frames, size, classes, weights)
    clips = noise(frames=60)
    clips[0] = 0  # all windows of the pooling tie
    for network in (reference, model):
        network(clips).square().sum().backward()
    plain_gradients = dict(reference.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, plain_gradients[name].grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("architecture", "sizes"), ALL, ids=names)
def test_padding_changes_nothing(architecture, sizes):
    model, clips = small(architecture, sizes), noise()
    real = torch.tensor([7, 1, 4])
    with torch.no_grad():
        together = model(clips, real)
        for place, count in enumerate(real):
            alone = model(clips[place : place + 1, :count])[0]
            torch.testing.assert_close(together[place], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(model(clips, torch.tensor([7, 7, 7])), model(clips), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("architecture", "sizes"), ALL, ids=names)
def test_frames_may_be_encoded_one_by_one(architecture, sizes):
    model, clips = small(architecture, sizes), noise()
    with torch.no_grad():
        one_by_one = torch.stack([model.encode_frames(clips[:, place]) for place in range(7)], dim=1)
        torch.testing.assert_close(model.classify_features(one_by_one), model(clips), rtol=0, atol=1e-12)


def test_bidirectional_lstm_is_pytorchs():
    model, clips = small("lstm", LSTMSettings(hidden_size=12, layers=2, bidirectional=True)), noise()
    features = model.cnn(clips.flatten(0, 1)).unflatten(0, (3, 7))
    _, (hidden, _) = model.lstm(features)
    expected = model.fc(torch.cat([hidden[-2], hidden[-1]], dim=1))
    torch.testing.assert_close(model(clips), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sizes", [sizes for architecture, sizes in ALL if architecture == "attention"])
def test_attention_maps_are_those_the_model_uses(sizes):
    model, clips = small("attention", sizes), noise()
    features, real = model.encode_frames(clips), torch.tensor([7, 1, 4])
    maps = model.attention_maps(features, real)
    assert maps.shape == (3, sizes.layers, sizes.heads, 7, 7)
    torch.testing.assert_close(maps.sum(-1), torch.ones_like(maps[..., 0]))
    assert (maps[1, ..., 1:] == 0).all() and (maps[2, ..., 4:] == 0).all()

    layer = model.attention.layers[0]
    seen = features + model.pos_embedding
    seen = layer.norm1(seen) if sizes.norm == "pre" else seen
    query, key, _ = torch.nn.functional.linear(
        seen, layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    ).chunk(3, dim=-1)
    query, key = (part.unflatten(-1, (sizes.heads, -1)).transpose(1, 2) for part in (query, key))
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    torch.testing.assert_close(model.attention_maps(features)[:, 0], scores.softmax(-1))

    per_frame = model.frame_attention(features, real)
    torch.testing.assert_close(per_frame.sum(1), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(per_frame[1], torch.tensor([1.0, 0, 0, 0, 0, 0, 0], dtype=torch.float64))


def test_asking_for_attention_leaves_the_mode_alone():
    model = small("attention", AttentionSettings()).train()
    model.attention_maps(model.encode_frames(noise()))
    assert model.training and model.attention.layers[0].training


def test_pixels_to_input():
    pixels = torch.randint(0, 256, (2, 3, 5, 5, 3), dtype=torch.uint8)
    before = pixels.clone()
    frames = to_input(pixels)
    assert frames.dtype == torch.float32 and frames.shape == (2, 3, 3, 5, 5)
    assert torch.equal(frames[1, 2, 0], pixels[1, 2, :, :, 0] / 255)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize(("architecture", "sizes"), ALL, ids=names)
def test_a_model_is_told_by_its_weights(architecture, sizes):
    weights = small(architecture, sizes).state_dict()
    found, found_sizes, frames, size, classes = told_by_weights(weights, frames=7)
    assert (found, frames, size, classes) == (architecture, 7, 16, 8)
    without_trace = {"dropout": sizes.dropout} | ({"heads": sizes.heads} if architecture == "attention" else {})
    assert vars(found_sizes) | without_trace == vars(sizes)


@pytest.mark.parametrize(
    "broken",
    [
        lambda weights: weights.pop("cnn.0.bias"),
        lambda weights: weights.update(extra=torch.zeros(1)),
        lambda weights: weights.update({"fc.weight": torch.zeros(9, 128)}),
    ],
)
def test_weights_of_another_model_are_refused(broken):
    weights = dict(small("lstm", LSTMSettings()).state_dict())
    broken(weights)
    with pytest.raises(EmotionRayError, match="weights are not of this lstm model"):
        with_weights("lstm", LSTMSettings(), 7, 16, 8, weights)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("transformer", AttentionSettings(), 60, 64, 8), "give one of lstm, attention"),
        (lambda: build("lstm", AttentionSettings(), 60, 64, 8), "takes LSTMSettings"),
        (lambda: build("lstm", LSTMSettings(), 60, 2, 8), "size is 2"),
        (lambda: LSTMSettings(hidden_size=0), "hidden_size is 0"),
        (lambda: LSTMSettings(hidden_size=1.5), "a whole number"),
        (lambda: LSTMSettings(bidirectional="yes"), "bidirectional is 'yes'"),
        (lambda: AttentionSettings(embedding=255), "a multiple of heads"),
        (lambda: AttentionSettings(norm="none"), "one of post, pre"),
        (lambda: AttentionSettings(dropout=float("nan")), "dropout is nan"),
        (lambda: told_by_weights({"x": torch.zeros(1)}), "neither the lstm nor the attention"),
    ],
)
def test_sizes_out_of_range_are_refused(make, message):
    with pytest.raises(EmotionRayError, match=message):
        make()


@pytest.mark.parametrize(
    "sizes", [LSTMSettings(hidden_size=5), LSTMSettings(hidden_size=5, layers=2, bidirectional=True)]
)
def test_weights_in_one_piece_are_the_same_weights_with_the_biases_last(sizes):
    model = small("lstm", sizes)
    weights = [weight for layer in model.lstm.all_weights for weight in layer]
    placed = in_one_piece(weights)
    assert all(torch.equal(one, other) for one, other in zip(placed, weights, strict=True))
    places = [one.storage_offset() for one in sorted(placed, key=lambda one: -one.dim())]
    assert places == sorted(places) and len({one.untyped_storage().data_ptr() for one in placed}) == 1
