"""What torch and CUDA say is told as what it is: a fault of the device, or the run's own."""

from __future__ import annotations

import pytest
import torch

from tui_datasize.errors import DeviceUnavailable
from tui_datasize.training import failures
from tui_datasize.training.accelerator import faults
from tui_datasize.training.accelerator.device import accelerator_of
from tui_datasize.training.accelerator.probe import probe
from tui_datasize.training.models.parts import Dropout

OF_THE_DEVICE = {
    "CUDA error: uncorrectable ECC error encountered": "cannot be corrected",
    "CUDA error: CUDA-capable device(s) is/are busy or unavailable": "does not take another process",
    "CUDA error: no kernel image is available for execution on the device": "has no kernels",
    "CUDA error: unknown error": "has lost the GPU",
    "Unable to determine the device handle for GPU0: GPU is lost.": "has lost the GPU",
    "CUDA error: system not yet initialized": "a service of the GPU",
}
WHILE_OPENED = {
    "Torch not compiled with CUDA enabled": "a build without CUDA",
    "Found no NVIDIA driver on your system. Please check": "no NVIDIA driver",
    "The NVIDIA driver on your system is too old (found version 12040). Please update": "for CUDA 12.4",
    "CUDA error: system has unsupported display driver / cuda driver combination": "different versions",
    "No CUDA GPUs are available": "does not see the GPU",
    "CUDA error: out of memory": "no memory left",
    "something that nobody has heard of": "cannot be used (something",
}
OF_THE_RUN = [
    "CUDA error: an illegal memory access was encountered",
    "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "mat1 and mat2 shapes cannot be multiplied",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
]


@pytest.mark.parametrize("text", [*OF_THE_DEVICE, *WHILE_OPENED])
def test_what_is_raised_while_a_device_is_opened_is_its_fault(text):
    with pytest.raises(DeviceUnavailable) as caught, faults.while_opening():
        raise RuntimeError(text + "\nCompile with TORCH_USE_CUDA_DSA to enable device-side assertions.")
    assert (OF_THE_DEVICE | WHILE_OPENED)[text] in caught.value.what
    assert caught.value.fix


@pytest.mark.parametrize("text", OF_THE_DEVICE)
def test_a_fault_while_training_is_told_and_ends_the_process(text):
    with pytest.raises(DeviceUnavailable, match=OF_THE_DEVICE[text]) as caught, faults.while_computing():
        raise RuntimeError(text)
    assert failures.ruins_process(caught.value)


@pytest.mark.parametrize("text", [*OF_THE_RUN, *WHILE_OPENED])
def test_other_errors_of_a_run_stay_what_they_are(text):
    with pytest.raises(RuntimeError) as caught, faults.while_computing():
        raise RuntimeError(text)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("text", "ruins"),
    [
        ("CUDA error: an illegal memory access was encountered", True),
        ("CUDA error: unspecified launch failure", True),
        ("CUDA error: device-side assert triggered", True),
        ("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", True),
        ("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION", True),
        ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`", True),
        ("cuDNN error: CUDNN_STATUS_NOT_SUPPORTED", False),
        ("cuDNN error: CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH", False),
        ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasGemmEx(handle)`", False),
        ("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasGemmEx(handle)`", False),
        ("CUDA error: invalid configuration argument", False),
        ("CUDA error: operation not permitted when stream is capturing", False),
        ("CUDA error: out of memory", False),
        ("mat1 and mat2 shapes cannot be multiplied", False),
    ],
)
def test_only_a_context_that_is_lost_ruins_the_process(text, ruins):
    assert failures.ruins_process(RuntimeError(text)) == ruins


def test_the_probe_computes_and_tells_the_device(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found = probe()
    assert found["device"] == "cpu"
    assert found["free_bytes"] > 0
    assert found["torch"] == torch.__version__


def test_a_generator_of_another_device_is_refused():
    class OfAnother(torch.Generator):
        device = torch.device("lazy")

    with pytest.raises(ValueError, match="expected a generator of cpu"):
        Dropout(0.5, OfAnother()).train()(torch.ones(2, 3))
    own = torch.Generator()
    assert accelerator_of(torch.device("cpu")).draws(own) is own
