"""Losses: the cross-entropy of logits that lie in memory shared with who wrote them.

Every number is read once, into a small private copy in fp32; softmax and target come from that copy, so whoever goes
on writing changes nothing between them. The copy is the only memory taken: it fits a CPU's cache, or is about a
gigabyte on a GPU, however many logits there are.
"""

import numpy as np
import numpy.typing as npt
import torch

PIECE_ELEMENTS = {"cpu": 2**18, "cuda": 2**28}  # of fp32 at once; a single row may be larger


class LossReader:
    """Reads logits of one vocabulary on one device."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        rows = max(1, PIECE_ELEMENTS[device.type] // vocab_size)
        self._private = torch.empty(rows, vocab_size, device=device)

    def read(self, shared: torch.Tensor, targets: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Nats, fp32 [rows]: shared logits [rows, vocab_size] in any float, on the CPU; targets [rows].

        NaN or infinite where the logits give no finite loss.
        """
        rows, wanted = len(self._private), torch.from_numpy(targets).to(self._private.device)
        found = [self._piece(x, y) for x, y in zip(shared.split(rows), wanted.split(rows), strict=True)]
        losses: npt.NDArray[np.float32] = torch.cat(found).cpu().numpy()
        return losses

    def _piece(self, shared: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """log(sum(exp(x - max))) - (x[target] - max), in place: no pass writes anything but the private copy."""
        x = self._private[: len(shared)].copy_(shared.to(self._private.device))  # to a GPU as it is, then to fp32
        chosen, largest = x.gather(1, targets[:, None]), x.amax(1, keepdim=True)
        return (x.sub_(largest).exp_().sum(1, keepdim=True).log_() - (chosen - largest)).squeeze(1)
