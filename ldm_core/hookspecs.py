"""The hook points, under the name by which plugin authors look for them; they live in
`ldm_core.plugins.hookspecs`."""

from ldm_core.plugins.hookspecs import API_VERSION as API_VERSION
from ldm_core.plugins.hookspecs import ENDS as ENDS
from ldm_core.plugins.hookspecs import HOOK_API as HOOK_API
from ldm_core.plugins.hookspecs import KINDS as KINDS
from ldm_core.plugins.hookspecs import SINCE as SINCE
from ldm_core.plugins.hookspecs import Register as Register
from ldm_core.plugins.hookspecs import RegisterModel as RegisterModel
from ldm_core.plugins.hookspecs import hookimpl as hookimpl
from ldm_core.plugins.hookspecs import hookspec as hookspec
