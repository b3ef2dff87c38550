"""The contracts between the parts of a pipeline: one file a kind, and a plain function satisfies
most of them.

Tensors of latents are float32 (batch, channels, ...); one entry of the batch is one image.
"""

from ldm_core.contracts.attention import (
    Attention,
    Kernel,
    as_kernel,
    first_of,
    lacking,
    runs_on,
    torchs_own,
)
from ldm_core.contracts.autoencoder import (
    Decoder,
    Encoder,
    as_decoder,
    as_encoder,
    decodes,
    encodes,
)
from ldm_core.contracts.conditioning import (
    REQUIRED,
    Conditioning,
    Input,
    as_conditioning,
)
from ldm_core.contracts.converter import Converter, Phase, PlaceNames, Speedup, as_converter
from ldm_core.contracts.family import Family, Model, ModelInfo, OtherModel, as_family
from ldm_core.contracts.files import FileName, InputPath, OutputPath
from ldm_core.contracts.guidance import MODELS_OWN, Bound, Guidance, as_guidance
from ldm_core.contracts.latents import Axis, Extent, LatentShape, LatentSpace
from ldm_core.contracts.medium import Medium, Shown, Writer, as_writer, writes
from ldm_core.contracts.network import (
    BRANCHES,
    LED_FROM,
    NEGATIVE,
    POSITIVE,
    UNCONDITIONAL,
    Call,
    Condition,
    Network,
    Row,
    Unequal,
    concatenate,
    take,
)
from ldm_core.contracts.observer import Finished, Observer, RunObserver, as_observer
from ldm_core.contracts.place import Part, PartInfo, Place
from ldm_core.contracts.record import Record, fits
from ldm_core.contracts.run import Evaluation, Plan, Request, Run, RunHooks, Seed, Step, sees_run
from ldm_core.contracts.scheduler import (
    Scheduler,
    Walk,
    as_scheduler,
    goes_with,
    needs_learned_variance,
    nonlinear,
    of_order,
    starts_with,
    stochastic,
    unit_variance,
)
from ldm_core.contracts.spacing import Spacing, as_spacing, sees_latent
from ldm_core.contracts.wrapper import Wrapper, as_wrapper, neutral_at
from ldm_core.numerics.callables import Denoise, Noise, VariancePredicting, learned_variance
from ldm_core.numerics.grid import Grid

__all__ = [
    "BRANCHES",
    "LED_FROM",
    "MODELS_OWN",
    "NEGATIVE",
    "POSITIVE",
    "REQUIRED",
    "UNCONDITIONAL",
    "Attention",
    "Axis",
    "Bound",
    "Call",
    "Condition",
    "Conditioning",
    "Converter",
    "Decoder",
    "Denoise",
    "Encoder",
    "Evaluation",
    "Extent",
    "Family",
    "FileName",
    "Finished",
    "Grid",
    "Guidance",
    "Input",
    "InputPath",
    "Kernel",
    "LatentShape",
    "LatentSpace",
    "Medium",
    "Model",
    "ModelInfo",
    "Network",
    "Noise",
    "Observer",
    "OtherModel",
    "OutputPath",
    "Part",
    "PartInfo",
    "Phase",
    "Place",
    "PlaceNames",
    "Plan",
    "Record",
    "Request",
    "Row",
    "Run",
    "RunHooks",
    "RunObserver",
    "Scheduler",
    "Seed",
    "Shown",
    "Spacing",
    "Speedup",
    "Step",
    "Unequal",
    "VariancePredicting",
    "Walk",
    "Wrapper",
    "Writer",
    "as_conditioning",
    "as_converter",
    "as_decoder",
    "as_encoder",
    "as_family",
    "as_guidance",
    "as_kernel",
    "as_observer",
    "as_scheduler",
    "as_spacing",
    "as_wrapper",
    "as_writer",
    "concatenate",
    "decodes",
    "encodes",
    "first_of",
    "fits",
    "goes_with",
    "lacking",
    "learned_variance",
    "needs_learned_variance",
    "neutral_at",
    "nonlinear",
    "of_order",
    "runs_on",
    "sees_latent",
    "sees_run",
    "starts_with",
    "stochastic",
    "take",
    "torchs_own",
    "unit_variance",
    "writes",
]
