"""glibc's allocator, tuned before the first large buffer is made.

By default glibc maps every large buffer afresh and gives it back to the kernel when it is freed; each training step
then faults the same gigabytes in again, which costs a CPU run up to half of its speed. Keeping freed memory in the
process removes it. Other C libraries and GPUs are not affected.
"""

import ctypes

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def keep_freed_memory():
  """Tells glibc to keep freed memory in the process; returns whether it was told (False elsewhere than on glibc)."""
  try:
    mallopt = ctypes.CDLL('libc.so.6').mallopt
  except (OSError, AttributeError):
    return False
  largest = 2**31 - 1  # mallopt takes a C int
  return all(mallopt(key, value) for key, value in
             ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, largest), (_M_TOP_PAD, 256 * 2**20)))
