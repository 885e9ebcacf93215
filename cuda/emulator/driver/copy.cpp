// copy.cpp   copies and fills, with what the host may change while they are under way
//
// To the device from pageable memory: the bytes are those at the call. From page-locked memory: those when the stream gets
// there. To pageable memory the call returns when the bytes are there, to page-locked memory at once.
#include <cstring>

#include "emulator/driver/state.h"

namespace rt::driver {

namespace {

enum class Side { host, device };

// One end of a copy; an unknown side is looked up, as unified addressing does.
struct End {
  std::uint64_t address;
  Side side;

  End(const void* p, Side side) : address(reinterpret_cast<std::uint64_t>(p)), side(side) {}
  End(DevicePointer p, Side side) : address(p), side(side) {}
  explicit End(DevicePointer p) : address(p), side(memory().find(p, 1) != nullptr ? Side::device : Side::host) {}

  bool valid(std::size_t bytes) const {
    if (side == Side::host) {
      return address != 0;
    }
    // Page-locked memory has a device address too.
    return memory().find(address, bytes) != nullptr || memory().pinned(pointer(), bytes) != nullptr;
  }
  bool pageable(std::size_t bytes) const { return side == Side::host && memory().pinned(pointer(), bytes) == nullptr; }
  void* pointer() const { return reinterpret_cast<void*>(address); }
};

Result copy(Lock& lock, const std::shared_ptr<Stream>& stream, End to, End from, std::size_t bytes, bool blocking) {
  if (bytes == 0) {
    return kSuccess;
  }
  if (!to.valid(bytes) || !from.valid(bytes)) {
    return kInvalidValue;
  }
  void* const target = to.pointer();
  const void* const source = from.pointer();
  Step step{kNodeMemcpy, [=](Context&) { std::memmove(target, source, bytes); }, nullptr};
  if (stream->capture == nullptr && from.pageable(bytes) && to.side == Side::device) {
    auto staged = std::make_shared<std::vector<std::byte>>(bytes);
    std::memcpy(staged->data(), source, bytes);
    step.run = [=](Context&) { std::memcpy(target, staged->data(), bytes); };
  }
  const bool waits = blocking || (stream->capture == nullptr && to.pageable(bytes));
  const Result result = submit(lock, stream, std::move(step));
  return result == kSuccess && waits ? wait(lock, {stream, stream->issued}) : result;
}

// The calls without a stream: on the legacy stream, and not while something is captured.
Result copy_now(End (*to)(const void*), const void* to_argument, End (*from)(const void*), const void* from_argument,
                std::size_t bytes, bool blocking) {
  return in_context([&](Lock& lock, Context& context) {
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    return copy(lock, context.legacy, to(to_argument), from(from_argument), bytes, blocking);
  });
}

End host(const void* p) { return {p, Side::host}; }
End device(const void* p) { return {p, Side::device}; }
End unified(const void* p) { return End(reinterpret_cast<DevicePointer>(p)); }
const void* at(DevicePointer p) { return reinterpret_cast<const void*>(p); }

Result copy_in_stream(void* stream, End (*to)(const void*), const void* to_argument, End (*from)(const void*),
                      const void* from_argument, std::size_t bytes) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    return copy(lock, found, to(to_argument), from(from_argument), bytes, false);
  });
}

template <class T>
Result fill(Lock& lock, const std::shared_ptr<Stream>& stream, DevicePointer p, T value, std::size_t count) {
  if (count == 0) {
    return kSuccess;
  }
  if (!End(p, Side::device).valid(count * sizeof(T)) || p % sizeof(T) != 0) {
    return kInvalidValue;
  }
  return submit(lock, stream, {kNodeMemset, [=](Context&) {
                                 auto* const begin = reinterpret_cast<T*>(p);
                                 for (std::size_t i = 0; i < count; i++) {
                                   begin[i] = value;
                                 }
                               }, nullptr});
}

template <class T>
Result fill_in_stream(DevicePointer p, T value, std::size_t count, void* stream) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    return fill(lock, found, p, value, count);
  });
}

template <class T>
Result fill_now(DevicePointer p, T value, std::size_t count) {
  return in_context([&](Lock& lock, Context& context) {
    const Result forbidden = forbidden_by_capture();
    return forbidden != kSuccess ? forbidden : fill(lock, context.legacy, p, value, count);
  });
}

}  // namespace

}  // namespace rt::driver

using namespace rt::driver;

RT_API cuMemcpyHtoD_v2(DevicePointer to, const void* from, std::size_t bytes) {
  return copy_now(device, at(to), host, from, bytes, true);
}
RT_API cuMemcpyDtoH_v2(void* to, DevicePointer from, std::size_t bytes) {
  return copy_now(host, to, device, at(from), bytes, true);
}
RT_API cuMemcpyDtoD_v2(DevicePointer to, DevicePointer from, std::size_t bytes) {
  return copy_now(device, at(to), device, at(from), bytes, false);
}
RT_API cuMemcpy(DevicePointer to, DevicePointer from, std::size_t bytes) {
  return copy_now(unified, at(to), unified, at(from), bytes, true);
}
RT_API cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, std::size_t bytes, void* stream) {
  return copy_in_stream(stream, device, at(to), host, from, bytes);
}
RT_API cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, std::size_t bytes, void* stream) {
  return copy_in_stream(stream, host, to, device, at(from), bytes);
}
RT_API cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, std::size_t bytes, void* stream) {
  return copy_in_stream(stream, device, at(to), device, at(from), bytes);
}
RT_API cuMemcpyAsync(DevicePointer to, DevicePointer from, std::size_t bytes, void* stream) {
  return copy_in_stream(stream, unified, at(to), unified, at(from), bytes);
}

RT_API cuMemsetD8Async(DevicePointer p, unsigned char value, std::size_t count, void* stream) {
  return fill_in_stream(p, value, count, stream);
}
RT_API cuMemsetD16Async(DevicePointer p, unsigned short value, std::size_t count, void* stream) {
  return fill_in_stream(p, value, count, stream);
}
RT_API cuMemsetD32Async(DevicePointer p, unsigned value, std::size_t count, void* stream) {
  return fill_in_stream(p, value, count, stream);
}
RT_API cuMemsetD8_v2(DevicePointer p, unsigned char value, std::size_t count) { return fill_now(p, value, count); }
RT_API cuMemsetD16_v2(DevicePointer p, unsigned short value, std::size_t count) { return fill_now(p, value, count); }
RT_API cuMemsetD32_v2(DevicePointer p, unsigned value, std::size_t count) { return fill_now(p, value, count); }
