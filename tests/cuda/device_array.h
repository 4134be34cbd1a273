// Device memory for the tests: an owned array, filled from the host, with poison or with noise.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include <cuda_runtime.h>
#include <gtest/gtest.h>

namespace spate::cuda_test {

inline void require(cudaError_t error) {
  ASSERT_EQ(error, cudaSuccess) << cudaGetErrorString(error);
}

template <class T>
class DeviceArray {
 public:
  // Every byte 0xFF: NaN in every floating-point type.
  explicit DeviceArray(std::size_t n) : n_(n) {
    require(cudaMalloc(&data_, (n + 1) * sizeof(T)));
    poison();
  }
  explicit DeviceArray(const std::vector<T>& host) : DeviceArray(host.size()) { set(host); }
  ~DeviceArray() { cudaFree(data_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  void poison() { require(cudaMemset(data_, 0xFF, n_ * sizeof(T))); }
  void zero() { require(cudaMemset(data_, 0, n_ * sizeof(T))); }
  void set(const std::vector<T>& host) {
    require(cudaMemcpy(data_, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  std::vector<T> get() const {
    std::vector<T> host(n_);
    require(cudaMemcpy(host.data(), data_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    return host;
  }
  T* data() const { return data_; }
  std::size_t size() const { return n_; }

 private:
  T* data_ = nullptr;
  std::size_t n_;
};

}  // namespace spate::cuda_test
