#include "tests/kernels/simd_checks_body.h"
