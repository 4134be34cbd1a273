# Compiler settings and third-party packages, all from the distribution.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# With ccache, paths below the checkout count as relative: all checkouts share what one compiled.
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  set(CCACHE ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
             ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(EDIT REQUIRED IMPORTED_TARGET libedit)
find_package(CLI11 REQUIRED)
if(SPATE_TESTS)
  find_package(GTest REQUIRED)
  find_package(benchmark REQUIRED)
endif()

# What every target of ours is compiled with. No fast-math and no contraction: the order and the
# rounding of every sum are part of the contract (docs/architecture.md, "Same bits").
add_library(spate_options INTERFACE)
target_compile_features(spate_options INTERFACE cxx_std_20)
target_compile_options(spate_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror
                            -ffp-contract=off -fno-math-errno>
  # GCC 12 sees overlaps in std::string where there are none (its bug 105651).
  # In a unity build, where sources are included, it takes their anonymous namespaces for headers'.
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-restrict -Wno-subobject-linkage>)
# fmt 9 declares functions constexpr under nvcc whose callees it does not.
target_compile_definitions(spate_options INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
target_include_directories(spate_options INTERFACE ${CMAKE_SOURCE_DIR}/include ${CMAKE_SOURCE_DIR}/src)
if(SPATE_FUZZ)
  # Coverage of the code under test, not of the harness alone, is what guides the fuzzer.
  target_compile_options(spate_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(SPATE_SANITIZE)
  target_compile_options(spate_options INTERFACE -fsanitize=${SPATE_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(spate_options INTERFACE -fsanitize=${SPATE_SANITIZE})
endif()

if(SPATE_CUDA)
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  # No kernel may have its wgmma serialized, and none may spill more than is known of it, which
  # depends on the release of the assembler.
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(SPILLS note)
  if(CMAKE_CUDA_COMPILER_VERSION MATCHES "^13\\.0")
    set(SPILLS fail)
  endif()
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_ptxas.py
      --spills ${SPILLS} ${CCACHE})
  # CMake 3.25 does not know that nvcc 13 speaks C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_ARCHITECTURES ${SPATE_CUDA_ARCHITECTURES})
endif()
