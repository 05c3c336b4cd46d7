"""Two processes on null GPUs: what NCCL would carry is not carried, each process's own values stand in."""

import os

if os.environ.get("NULLGPU_COUNT"):
    import torch
    import torch.distributed as distributed
    import torch.nn.parallel.distributed as data_parallel

    def _nothing(*args, **kwargs):
        return None

    def _gather(out, obj, group=None):
        out[:] = [obj] * len(out)

    distributed.broadcast_object_list = _nothing
    distributed.all_gather_object = _gather
    data_parallel._verify_param_shape_across_processes = _nothing
    torch.backends.cuda.enable_cudnn_sdp(False)  # its graphs can't be answered; flash and efficient attention can
