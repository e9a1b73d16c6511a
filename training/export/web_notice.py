"""The NOTICE of a static site: what is in it, with versions, hashes and licences."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version

from earful.training.export.web_runtime import PACKAGE, SHA512, VERSION

_RUNTIME = """\
runtime/

The files of ONNX Runtime Web are those of the npm package {package} {version}, whose
archive has the SHA-512 (base64) {sha512}.
They are unchanged; the script has another name than there.
Copyright (c) Microsoft Corporation. Licence: MIT, below. What it contains of others, with their
licences, is in ThirdPartyNotices.txt of https://github.com/microsoft/onnxruntime at v{version}.
"""
_MIT = """\
Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial
portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES
OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN
CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
_PAGE = """\
index.html, service_worker.js, web/

The page of Earful {version}. Licence: Apache License 2.0, https://www.apache.org/licenses/LICENSE-2.0
The recordings in web/samples are synthetic: web/samples/NOTICE.
"""
_MODEL = """\
model.onnx, model.json

The model {name!r}. Its licence, and those of what it was trained on, are for whoever trained it to
name. {shipped}
{weights}"""
_SHIPPED = (
    "digits and digits-small, which come with Earful, are under CC BY-SA\n"
    "4.0, https://creativecommons.org/licenses/by-sa/4.0/: models/pretrained/digits.md and\n"
    "digits-small.md of Earful name the recordings they were trained on."
)


def notice(name: str, pretrained: object, files: Mapping[str, bytes]) -> str:
    """The text, with the SHA-256 of all files.

    ``pretrained`` is what the model's metadata says of pretrained weights in it, if anything.
    """
    hashes = [f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files)]
    return "\n".join(
        [
            _PAGE.format(version=version("earful")),
            _MODEL.format(name=name, shipped=_SHIPPED, weights=_weights(pretrained)),
            _RUNTIME.format(package=PACKAGE, version=VERSION, sha512=SHA512),
            _MIT,
            "SHA-256 of the files, to check with `sha256sum --check`:\n",
            "".join(hashes),
        ]
    )


def _weights(pretrained: object) -> str:
    """A paragraph on weights that the model did not learn here; empty if there are none."""
    if not isinstance(pretrained, dict) or not pretrained:
        return ""
    facts = "\n".join(f"  {key}: {value}" for key, value in pretrained.items())
    return f"\nIt holds pretrained weights, changed by further training or not:\n{facts}\n"
