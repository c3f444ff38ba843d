"""Sampling: one batch of synthetic images from a real diffusers pipeline, one CPU generator an image, and their faults.

An inpainted image is kept as the pipeline decodes it: nothing of the parent is pasted back over the unmasked pixels, as
in the study's code, so that all of it has passed the same autoencoder and no seam gives the mask away.
"""

import json
from collections.abc import Sequence
from functools import lru_cache
from math import ceil

import imagehash
import numpy as np
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from PIL import Image
from torch.nn.functional import interpolate

from . import dreambooth, gan, masks
from .base_model import Base, build_pipeline
from .references import load_base, prompt_of

__all__ = ["FAST", "METHODS", "SCHEDULERS", "decode", "flag", "hands_on", "latents", "prompts", "sample", "to_bytes"]

METHODS = {  # → the UNet's task
    "text-to-image": "text-to-image", "img2img": "text-to-image", "inpaint": "inpainting",
    "in-then-outpaint": "inpainting",
    "gan": "gan",
}  # fmt: skip
SCHEDULERS = {
    "dpm-solver": DPMSolverMultistepScheduler, "ddim": DDIMScheduler, "unipc": UniPCMultistepScheduler,
    "euler": EulerDiscreteScheduler,
}  # fmt: skip
# The preset `fast`: this share of the steps; guidance in the first share of those (at low noise it does little:
# Kynkäänniemi et al. 2024, arXiv 2404.07724); latents handed from inpainting to outpainting, not decoded and encoded
# again.
FAST = {"steps": 0.3, "guided": 0.6}
CONSTANT = 2  # grey levels: an image that spans no more in any channel shows nothing
Pipeline = StableDiffusionPipeline | StableDiffusionImg2ImgPipeline | StableDiffusionInpaintPipeline


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


def prompts(task: dict, rows: Sequence[dict]) -> list[str]:
    """Each image's prompt, the same sentence that its generator was taught."""
    return [prompt_of(r["condition"], r["fst"], task["prompt"], task["add_skin_type"]) for r in rows]


def hands_on(task: dict) -> bool:
    """True where a task's latents are kept for the stage after it: inpainting in the preset `fast`."""
    return task["preset"] == "fast" and task["method"] == "inpaint"


@lru_cache(maxsize=1)
def _base(base: str, task: str, dtype: str) -> Base:
    """What the generators of one base have in common, read once while their turn comes."""
    return load_base(json.loads(base), task, dtype)


@lru_cache(maxsize=1)
def _pipeline(key: str, base: str, kind: str, dtype: str, scheduler: str) -> Pipeline:
    """The pipeline of a kept generator ('' is the untouched base), once a process while it is the one in use.

    kind: the UNet's task, or `img2img`.
    """
    number = {"fp32": "float32", "bf16": "bfloat16"}[dtype]
    loaded = _base(base, METHODS.get(kind, kind), number)
    pipeline = build_pipeline(loaded, dreambooth.load_unet(key, getattr(torch, number)) if key else None)
    if kind == "img2img":
        pipeline = StableDiffusionImg2ImgPipeline(**pipeline.components, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
    if not isinstance(pipeline.scheduler, SCHEDULERS[scheduler]):
        pipeline.scheduler = SCHEDULERS[scheduler].from_config(loaded.scheduler)
    for network in (pipeline.unet, pipeline.vae):
        network.to(
            memory_format=torch.channels_last
        )  # on a CPU a tenth less time for a UNet, a quarter for an autoencoder
    return pipeline.to("cuda" if torch.cuda.is_available() else "cpu")


def _pipeline_of(task: dict) -> Pipeline:
    kind = "img2img" if task["method"] == "img2img" else METHODS[task["method"]]
    return _pipeline(task["key"], json.dumps(task["base"], sort_keys=True), kind, task["dtype"], task["scheduler"])


def sample(task: dict, rows: Sequence[dict], start: np.ndarray, seeds_: Sequence[int], kind: str = "np") -> np.ndarray:
    """One batch: float (n, s, s, 3) in [0, 1] or NaN. Each image has a CPU generator of its own, on any device.

    start: the images that are changed, uint8 (n, s, s, 3), or the latents float (n, 4, h, w) that the stage before
    handed on; not read from text alone. kind: `np`, or `latent` for torch latents (n, 4, h, w) that are not decoded.
    """
    if task["method"] == "gan":
        return gan.sample(task["key"], seeds_)
    pipeline = _pipeline_of(task)
    fast = task["preset"] == "fast"
    given = {
        "prompt": prompts(task, rows),
        "num_inference_steps": max(2, round(task["sampling_steps"] * FAST["steps"]))
        if fast
        else task["sampling_steps"],
        "guidance_scale": task["guidance_scale"],
        "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds_],
        "output_type": kind,
    }
    if task["method"] == "img2img":
        given |= {"image": _to_tensor(start), "strength": task["strength_img2img"]}
    else:
        given |= {"height": task["image_size"], "width": task["image_size"]}
    if METHODS[task["method"]] == "inpainting":
        given |= _painted(task, pipeline, start)
    if fast:
        given |= _guided_at_first(pipeline)
    return pipeline(**given).images


def _to_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255


def _painted(task: dict, pipeline: Pipeline, start: np.ndarray) -> dict:
    """What an inpainting pipeline is told beyond the prompt: the image, what to paint of it, how strongly."""
    size, fraction = task["image_size"], task["mask_fraction"]
    outside = task["method"] == "in-then-outpaint"
    mask = (
        masks.outside_square(size, fraction, task["outpaint_border"])
        if outside
        else masks.centre_square(size, fraction)
    )
    mask = torch.from_numpy(mask).float().expand(len(start), 1, size, size).clone()
    told = {"mask_image": mask, "strength": task["strength_outpaint" if outside else "strength_inpaint"]}
    if start.dtype == np.uint8:
        return {**told, "image": _to_tensor(start)}
    handed = torch.from_numpy(start).to(pipeline.device, pipeline.unet.dtype)
    small = interpolate(mask, size=handed.shape[-2:]).to(handed)
    grey = _encode_grey(pipeline, size)  # what the pipeline shows of painted pixels
    return {**told, "image": handed, "masked_image_latents": torch.where(small < 0.5, handed, grey)}


@torch.no_grad()
def _encode_grey(pipeline: Pipeline, size: int) -> torch.Tensor:
    """Scaled latents (1, 4, h, w) of a grey image."""
    out = pipeline.vae.encode(torch.zeros(1, 3, size, size, device=pipeline.device, dtype=pipeline.vae.dtype))
    found = out.latents if hasattr(out, "latents") else out.latent_dist.mode()
    return found * (pipeline.vae.config.scaling_factor or 1.0)


def _guided_at_first(pipeline: Pipeline) -> dict:
    """A call-back that ends guidance early: from then on the UNet sees each image once (diffusers, Pipeline
    callbacks)."""
    names = [n for n in ("prompt_embeds", "mask", "masked_image_latents") if n in pipeline._callback_tensor_inputs]

    def after(pipe: Pipeline, step: int, _when: int, tensors: dict) -> dict:
        if pipe.do_classifier_free_guidance and step + 1 >= ceil(FAST["guided"] * pipe.num_timesteps):
            pipe._guidance_scale = 1.0
            tensors |= {name: tensors[name].chunk(2)[-1] for name in names}
        return tensors

    return {"callback_on_step_end": after, "callback_on_step_end_tensor_inputs": names}


def latents(task: dict, rows: Sequence[dict], start: np.ndarray, seeds_: Sequence[int]) -> np.ndarray:
    """As `sample`, but scaled latents float32 (n, 4, h, w)."""
    return sample(task, rows, start, seeds_, kind="latent").float().cpu().numpy()


@torch.no_grad()
def decode(task: dict, handed: np.ndarray) -> np.ndarray:
    """Images of latents float (n, 4, h, w), float (n, s, s, 3) in [0, 1] or NaN, by the task's own autoencoder."""
    pipeline = _pipeline_of(task)
    scaled = torch.from_numpy(handed).to(pipeline.device, pipeline.vae.dtype) / (
        pipeline.vae.config.scaling_factor or 1.0
    )
    images = pipeline.vae.decode(scaled, return_dict=False)[0]
    return pipeline.image_processor.postprocess(images, output_type="np", do_denormalize=[True] * len(images))
