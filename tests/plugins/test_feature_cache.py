"""Features of a network's deep part used again: on every family, and whose they are."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from ldm_core import LdmError, Pipeline
