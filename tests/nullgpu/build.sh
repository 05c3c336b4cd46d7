#!/bin/bash
# build.sh OUT: build libnullgpu.so (preloaded) and libcuda.so.1 (a driver that says yes) in OUT, for the torch of $PYTHON.
# Needs gcc, nm, and the headers that come with torch's CUDA wheels.
set -e
SRC="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1"
cd "$1"
SP=$("${PYTHON:-python3}" -c "import sysconfig; print(sysconfig.get_path('platlib'))")
INCLUDE=$(dirname "$(find "$SP/nvidia" -name cuda_runtime_api.h | head -1)")
gcc -O1 -fPIC -w -c "$SRC/special.c" -I"$INCLUDE" -I"$SP/triton/backends/nvidia/include" -o special.o
nm --defined-only special.o | awk '{print $3}' | sort -u > have
# Every CUDA function that torch's libraries leave undefined and special.c doesn't answer says "success".
{
  for name in libc10_cuda libtorch_cuda libtorch_python libtorch_cuda_linalg libcaffe2_nvrtc; do
    nm -D --undefined-only "$SP/torch/lib/$name.so" | awk '{print $2}' | sed 's/@.*//' |
      grep -E '^(_*cuda|cudnn|cublas|nccl|cusolver|cu[A-Z]|cusparseCreate$|cusparseDestroy$|cusparseSetStream$)' || true
  done
  printf '%s\n' cuCtxGetCurrent cuCtxGetDevice cuCtxGetLimit cuCtxSetCurrent cuCtxSetLimit cuDeviceGet \
    cuDeviceGetAttribute cuDevicePrimaryCtxRetain cuDriverGetVersion cuFuncGetAttribute cuFuncSetAttribute \
    cuFuncSetCacheConfig cuGetErrorString cuModuleGetFunction cuModuleLoadData cuModuleUnload cuPointerGetAttribute \
    cuOccupancyMaxActiveClusters cuLaunchKernelEx cuTensorMapEncodeTiled
} | sort -u | grep -v -E '^(cudnnGetVersion|cudnnGetCudartVersion|cudnnGetProperty|cublasLtGetVersion|cufile|cuFile|cufft)' > want
comm -13 have want > rest
{
  echo 'extern void *calloc(unsigned long, unsigned long);'
  while read -r name; do
    case $name in
      *_bufferSize) echo "int $name(void) { return 0; }" ;;
      cusolverDnCreate* | cusparseCreate) echo "int $name(void **h) { *h = calloc(1, 64); return 0; }" ;;
      *) echo "int $name(void) { return 0; }" ;;
    esac
  done < rest
} > generic.c
gcc -O1 -fPIC -w -fno-builtin -c generic.c -o generic.o
gcc -shared -o libnullgpu.so special.o generic.o -lpthread
gcc -shared -Wl,-soname,libcuda.so.1 -o libcuda.so.1 special.o generic.o -lpthread
