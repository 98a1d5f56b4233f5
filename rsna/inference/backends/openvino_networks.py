"""Networks as one OpenVINO graph, every fold on the same images, run on the CPU."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from rsna.config.training import Precision
from rsna.cores import thread_count
from rsna.inference.batch import Batch, trial_inputs
from rsna.inference.pass_plan import PassPlan
from rsna.model.network import MammogramNet

MODEL = "folds.xml"
"""OpenVINO's description of the graph; the weights lie beside it, in folds.bin."""


class OpenVinoNetworks:
    """The folds of a run: the counterpart of :class:`rsna.inference.networks.TorchNetworks`, without torch.

    Every example is a request of its own, and as many requests run at once as OpenVINO finds good for these cores: an
    example has the same logits whatever stands beside it.
    """

    batch_invariant = True

    def __init__(self, model: Path, precision: Precision = "32") -> None:
        """Compiles the graph.

        Args:
            model: What :func:`write_openvino` wrote.
            precision: 32, or bf16.

        Raises:
            ValueError: bf16 on a CPU that has none.
        """
        self._core = openvino.Core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise ValueError("this CPU has no bf16")
        self._model = self._core.read_model(model)
        self._options = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": thread_count(),
        }
        shapes = {one.get_any_name(): one.get_partial_shape() for one in self._model.inputs}
        self._names = tuple(shapes)
        self._inputs = shapes["table"][1].get_length() if "table" in shapes else 0
        self._queues: dict[int, Any] = {}
        self._queue(len(self._model.outputs))
        self.precision: Precision = precision

    def logits(self, batch: Batch, plan: PassPlan | None = None) -> npt.NDArray[np.float32]:
        """See :meth:`rsna.inference.networks.Networks.logits`."""
        plan = plan or PassPlan(len(self._model.outputs), False)
        images = batch.as_unit()
        starts = np.flatnonzero(np.diff(batch.numbers, prepend=-1))  # (B,) the first image of each example
        facts: dict[str, npt.NDArray[Any]] = {
            "example": np.zeros(len(images), np.int64),  # each in a request of its own
            "table": batch.table_of(self._inputs),
            "other": batch.others,
        }
        queue = self._queue(plan.networks)
        found: dict[tuple[int, int], npt.NDArray[np.float32]] = {}
        queue.set_callback(lambda request, place: found.__setitem__(place, _logits_of(request)))
        for mirrored in (0, 1) if plan.flip else (0,):
            given = facts | {"images": np.ascontiguousarray(images[..., ::-1]) if mirrored else images}
            parts = zip(*(np.split(given[name], starts[1:]) for name in self._names), strict=True)
            for number, part in enumerate(parts):
                queue.start_async(list(part), (mirrored, number))
        queue.wait_all()
        views = [[found[mirrored, number] for number in range(len(starts))] for mirrored in range(1 + plan.flip)]
        return np.concatenate([np.stack(view, axis=1) for view in views])

    def _queue(self, networks: int) -> Any:
        """Requests to the first ``networks`` folds; fewer than all are compiled when they are first wanted."""
        if networks not in self._queues:
            outputs = [output.get_node() for output in self._model.outputs][:networks]
            part = openvino.Model(outputs, self._model.get_parameters())
            self._queues[networks] = openvino.AsyncInferQueue(self._core.compile_model(part, "CPU", self._options))
        return self._queues[networks]


def _logits_of(request: Any) -> npt.NDArray[np.float32]:
    """(networks, outputs) of the one example of a request."""
    return np.stack([request.get_output_tensor(k).data[0] for k in range(len(request.model_outputs))])


class _Folds(nn.Module):
    """Every fold on the same images."""

    def __init__(self, networks: Sequence[MammogramNet], names: Sequence[str]) -> None:
        super().__init__()
        self.networks, self.names = nn.ModuleList(networks), tuple(names)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Inputs in the order of ``names`` → (N, outputs) logits a fold, of which row b is example b."""
        named = dict(zip(self.names, given, strict=True))
        return tuple(network(**named) for network in self.networks)


def write_openvino(networks: Sequence[MammogramNet], size: tuple[int, int], file: Path) -> None:
    """Writes the networks as one graph that takes any number of images of ``size`` (rows, columns).

    By OpenVINO's reader of traced networks itself, which needs neither ONNX nor what else `openvino.convert_model` is.
    """
    given = {name: value for name, value in trial_inputs(networks[0].spec, size).items() if value is not None}
    folds = _Folds([network.cpu().eval() for network in networks], tuple(given))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and warns of every number that becomes a constant
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            folds, tuple(given.values()), check_trace=False, strict=False
        )
    reader = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchScriptPythonDecoder(traced)  # has to live until all is read
    model = reader.convert(reader.load(decoder))
    kinds = {torch.float32: openvino.Type.f32, torch.int64: openvino.Type.i64, torch.bool: openvino.Type.boolean}
    for parameter, (name, value) in zip(model.get_parameters(), given.items(), strict=True):
        parameter.set_partial_shape(openvino.PartialShape([-1, *value.shape[1:]]))
        parameter.set_element_type(kinds[value.dtype])
        parameter.output(0).set_names({name})
    model.validate_nodes_and_infer_types()
    openvino.save_model(model, str(file), compress_to_fp16=False)
