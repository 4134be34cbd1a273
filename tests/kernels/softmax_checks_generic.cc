#include "tests/kernels/softmax_checks_body.h"
