# One static library per folder of src/, one test program per folder of tests/. Sources are found
# by glob, so a new file needs no edit here; what a folder may include is its DEPENDS list.

set(SPATE_AVX512_FLAGS -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16
                       -mavx512vbmi -mfma -mf16c -mtune=icelake-server)
set(SPATE_AMX_FLAGS ${SPATE_AVX512_FLAGS} -mamx-tile -mamx-bf16 -mamx-int8)
set(SPATE_AVX2_FLAGS -mavx2 -mfma -mf16c)

# Files named *_amx.cc, *_avx512.cc and *_avx2.cc are compiled for that instruction set and no other.
function(spate_isa_flags)
  foreach(source ${ARGN})
    set(flags "")
    if(source MATCHES "_amx\\.cc$")
      set(flags ${SPATE_AMX_FLAGS})
    elseif(source MATCHES "_avx512\\.cc$")
      set(flags ${SPATE_AVX512_FLAGS})
    elseif(source MATCHES "_avx2\\.cc$")
      set(flags ${SPATE_AVX2_FLAGS})
    endif()
    if(flags AND SPATE_SANITIZE MATCHES "undefined")
      # Checks in code that is unrolled so far take minutes to compile; the generic build of the same
      # headers has them.
      list(APPEND flags -fno-sanitize=undefined)
    endif()
    if(flags)
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}")
    elseif(source MATCHES "_generic\\.cc$|/cuda/")
      # Sources with options of their own stay out of a unity build. So do generic kernels, which are
      # large, and the host's side of CUDA, which refers to what only a build with CUDA has.
      set_source_files_properties(${source} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
    endif()
  endforeach()
endfunction()

# spate_library(name DEPENDS lower layers... LIBS third-party targets...)
function(spate_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  if(SPATE_CUDA)
    list(FILTER sources EXCLUDE REGEX "_nocuda\\.cc$")
    file(GLOB_RECURSE cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cu)
    list(APPEND sources ${cuda_sources})
    list(APPEND ARG_LIBS CUDA::cudart_static)
  endif()
  list(TRANSFORM ARG_DEPENDS PREPEND spate_)
  if(NOT sources)
    add_library(spate_${name} INTERFACE)
    target_link_libraries(spate_${name} INTERFACE spate_options ${ARG_DEPENDS} ${ARG_LIBS})
    return()
  endif()
  spate_isa_flags(${sources})
  add_library(spate_${name} STATIC ${sources})
  target_link_libraries(spate_${name} PUBLIC spate_options ${ARG_DEPENDS} ${ARG_LIBS})
endfunction()

# spate_test_folder(name): tests/<name>/*_test.cc become the program spate_test_<name>, which finds
# its data from the root of the repository. PROCESSORS: how many it keeps busy; workers that wait for
# each other lose far more than their share of time where others run beside them.
function(spate_test_folder name)
  cmake_parse_arguments(ARG "" "PROCESSORS" "LIBS;LABELS" ${ARGN})
  if(NOT ARG_PROCESSORS)
    set(ARG_PROCESSORS 1)
  endif()
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  if(NOT sources)
    return()
  endif()
  spate_isa_flags(${sources})
  add_executable(spate_test_${name} ${sources})
  target_link_libraries(spate_test_${name} PRIVATE ${ARG_LIBS} spate_options GTest::gtest_main GTest::gmock)
  target_include_directories(spate_test_${name} PRIVATE ${CMAKE_SOURCE_DIR})
  # Tests may repeat each other's names, and what they call is optimized without them.
  set_target_properties(spate_test_${name} PROPERTIES UNITY_BUILD OFF)
  target_compile_options(spate_test_${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  add_test(NAME ${name} COMMAND spate_test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" PROCESSORS ${ARG_PROCESSORS})
endfunction()
