"""Sampling: a batch of synthetic images from a real diffusers pipeline, one CPU generator per image; their faults.

An inpainted image is kept as the pipeline decodes it: nothing of the parent is pasted back over the unmasked pixels, as
in the study's code, so that all of it has passed the same autoencoder and no seam gives the mask away.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import ceil
from typing import Any

import diffusers
import imagehash
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image
from torch.nn.functional import interpolate

from . import dreambooth, gan, masks
from .autoencoder import scaling
from .base_model import Base, build_pipeline
from .references import load_base, prompt_of
from .settings import FAST, METHODS, SCHEDULERS, Reference, ShardTask

__all__ = ["decode", "flag", "latents", "prompts", "sample", "to_bytes"]

CONSTANT = 2  # grey levels: an image that spans no more in any channel shows nothing


def to_bytes(drawn: np.ndarray) -> np.ndarray:
    """Float in [0, 1] to uint8; NaN becomes 0."""
    return (np.nan_to_num(drawn) * 255).round().astype(np.uint8)


def flag(drawn: np.ndarray, image: np.ndarray, parent: np.ndarray, distance: int) -> str:
    """'nan', 'constant', 'near-copy' or ''.

    drawn: float (s, s, 3) as the pipeline gave it; image, parent: uint8 (s, s, 3). distance: the largest Hamming
    distance of 64-bit perceptual hashes (pHash) that counts as a near-copy; below 0 none does.
    """
    if not np.isfinite(drawn).all():
        return "nan"
    if np.ptp(image.reshape(-1, 3).astype(int), axis=0).max() <= CONSTANT:
        return "constant"
    if distance < 0:
        return ""
    ours, theirs = (imagehash.phash(Image.fromarray(array)) for array in (image, parent))
    return "near-copy" if ours - theirs <= distance else ""


def prompts(task: ShardTask, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each image's prompt, the same sentence that its generator was taught."""
    return [prompt_of(row["condition"], row["fst"], task.prompt, task.add_skin_type) for row in rows]


@lru_cache(maxsize=1)
def _base(base: Reference, task: str, dtype: str) -> Base:
    """What the generators of one base have in common, read once while their turn comes."""
    return load_base(base, task, dtype)


@lru_cache(maxsize=1)
def _pipeline(key: str, base: Reference, method: str, dtype: str, scheduler: str) -> Any:
    """The pipeline of a kept generator ('' is the untouched base), once per process while it is in use."""
    name = {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    loaded = _base(base, METHODS[method], name)
    pipeline = build_pipeline(loaded, dreambooth.load_unet(key, getattr(torch, name)) if key else None)
    if method == "img2img":
        pipeline = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
    kind = getattr(diffusers, SCHEDULERS[scheduler])
    if not isinstance(pipeline.scheduler, kind):
        pipeline.scheduler = kind.from_config(loaded.scheduler)
    for network in (pipeline.unet, pipeline.vae):  # on a CPU a tenth less time for a UNet, a quarter for an autoencoder
        network.to(memory_format=torch.channels_last)
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def _pipeline_of(task: ShardTask) -> Any:
    method = "inpaint" if METHODS[task.method] == "inpainting" else task.method  # both stages use one pipeline
    return _pipeline(task.key, task.base, method, task.dtype, task.scheduler)


def sample(
    task: ShardTask, rows: Sequence[Mapping[str, Any]], start: np.ndarray, seeds_: Sequence[int], output: str = "np"
) -> Any:
    """One batch: float (n, s, s, 3) in [0, 1] or NaN. Each image has a CPU generator of its own, on any device.

    start: the images that are changed, uint8 (n, s, s, 3), or the latents float (n, 4, h, w) that the stage before
    handed on; not read from text alone. output: `np`, or `latent` for torch latents (n, 4, h, w) that are not decoded.
    """
    if task.method == "gan":
        return gan.sample(task.key, seeds_)
    pipeline = _pipeline_of(task)
    inputs = task.arguments() | {"prompt": prompts(task, rows), "output_type": output}
    inputs["generator"] = [torch.Generator("cpu").manual_seed(seed) for seed in seeds_]
    if task.method == "img2img":
        inputs |= {"image": _to_tensor(start), "strength": task.strength(task.method)}
    else:
        inputs |= {"height": task.image_size, "width": task.image_size}
    if METHODS[task.method] == "inpainting":
        inputs |= _painting(task, pipeline, start)
    if task.fast:
        inputs |= _guided_at_first(pipeline)
    return pipeline(**inputs).images


def _to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _painting(task: ShardTask, pipeline: Any, start: np.ndarray) -> dict[str, Any]:
    """An inpainting pipeline's inputs beyond the prompt: the image, the mask of what is painted, the strength."""
    size, fraction = task.image_size, task.mask_fraction
    if task.method == "in-then-outpaint":
        area = masks.outside_square(size, fraction, task.outpaint_border)
    else:
        area = masks.centre_square(size, fraction)
    mask = torch.from_numpy(area).float().expand(len(start), 1, size, size).clone()
    inputs = {"mask_image": mask, "strength": task.strength(task.method)}
    if start.dtype == np.uint8:
        return {**inputs, "image": _to_tensor(start)}
    handed = torch.from_numpy(start).to(pipeline.device, pipeline.unet.dtype)
    small = interpolate(mask, size=handed.shape[-2:]).to(handed)
    grey = _encode_grey(pipeline, size)  # what the pipeline shows of painted pixels
    return {**inputs, "image": handed, "masked_image_latents": torch.where(small < 0.5, handed, grey)}


@torch.no_grad()
def _encode_grey(pipeline: Any, size: int) -> torch.Tensor:
    """Scaled latents (1, 4, h, w) of a grey image."""
    out = pipeline.vae.encode(torch.zeros(1, 3, size, size, device=pipeline.device, dtype=pipeline.vae.dtype))
    z = out.latents if hasattr(out, "latents") else out.latent_dist.mode()
    return z * scaling(pipeline.vae)


def _guided_at_first(pipeline: Any) -> dict[str, Any]:
    """A call-back that ends guidance early: from then on the UNet sees each image once (diffusers, Pipeline
    callbacks)."""
    names = [n for n in ("prompt_embeds", "mask", "masked_image_latents") if n in pipeline._callback_tensor_inputs]

    def after(pipe: Any, step: int, _timestep: int, tensors: dict[str, Any]) -> dict[str, Any]:
        if pipe.do_classifier_free_guidance and step + 1 >= ceil(FAST["guided"] * pipe.num_timesteps):
            pipe._guidance_scale = 1.0
            tensors |= {name: tensors[name].chunk(2)[-1] for name in names}
        return tensors

    return {"callback_on_step_end": after, "callback_on_step_end_tensor_inputs": names}


def latents(task: ShardTask, rows: Sequence[Mapping[str, Any]], start: np.ndarray, seeds_: Sequence[int]) -> np.ndarray:
    """As `sample`, but scaled latents float32 (n, 4, h, w)."""
    return sample(task, rows, start, seeds_, output="latent").float().cpu().numpy()


@torch.no_grad()
def decode(task: ShardTask, z: np.ndarray) -> np.ndarray:
    """Images of latents float (n, 4, h, w), float (n, s, s, 3) in [0, 1] or NaN, by the task's own autoencoder."""
    pipeline = _pipeline_of(task)
    unscaled = torch.from_numpy(z).to(pipeline.device, pipeline.vae.dtype) / scaling(pipeline.vae)
    images = pipeline.vae.decode(unscaled, return_dict=False)[0]
    return pipeline.image_processor.postprocess(images, output_type="np", do_denormalize=[True] * len(images))
