// work.cpp   streams, events, and the one thread that does what they hold
#include <algorithm>

#include "emulator/driver/state.h"

namespace rt::driver {

namespace {

constexpr std::uint64_t kMostQueued = 1024;  // steps in a stream before a launch waits, as on a device

bool past(const Mark& mark) { return mark.stream == nullptr || mark.stream->done >= mark.sequence; }

void want(Stream& stream, std::uint64_t sequence) {
  stream.wanted = std::max(stream.wanted, std::min(sequence, stream.issued));
  state().work.notify_one();
}

std::size_t random_below(std::size_t bound) {
  std::uint64_t& x = state().random;  // xorshift64*, Vigna 2016
  x ^= x >> 12;
  x ^= x << 25;
  x ^= x >> 27;
  return static_cast<std::size_t>((x * 0x2545f4914f6cdd1du >> 32) * bound >> 32);
}

// A stream whose next step is wanted and need not wait for another stream, or null.
std::shared_ptr<Stream> choose() {
  State& all = state();
  std::erase_if(all.queues, [](const auto& weak) { return weak.expired(); });
  std::vector<std::shared_ptr<Stream>> streams;
  for (const auto& weak : all.queues) {
    if (auto stream = weak.lock(); stream != nullptr && !stream->queue.empty()) {
      streams.push_back(std::move(stream));
    }
  }
  // What a wanted step waits for is wanted too.
  for (bool raised = true; raised;) {
    raised = false;
    for (const auto& stream : streams) {
      if (stream->done < stream->wanted || all.settings.eager) {
        for (const Mark& mark : stream->queue.front().after) {
          if (!past(mark) && mark.stream->wanted < mark.sequence) {
            mark.stream->wanted = mark.sequence;
            raised = true;
          }
        }
      }
    }
  }
  std::erase_if(streams, [&](const auto& stream) {
    const auto& after = stream->queue.front().after;
    return (stream->done >= stream->wanted && !all.settings.eager) || !std::all_of(after.begin(), after.end(), past);
  });
  if (streams.empty()) {
    return nullptr;
  }
  return streams[all.settings.seed == 0 ? 0 : random_below(streams.size())];
}

void work() {
  State& all = state();
  Lock lock(all.mutex);
  while (true) {
    const std::shared_ptr<Stream> stream = choose();
    if (stream == nullptr) {
      all.work.wait(lock);
      continue;
    }
    Work next = std::move(stream->queue.front());
    stream->queue.pop_front();
    Context& context = *stream->context;
    if (context.error == kSuccess) {
      lock.unlock();
      if (next.step.call != nullptr) {
        run_kernel(context, *next.step.call);
      } else if (next.step.run) {
        next.step.run(context);
      }
      next.step = {};
      lock.lock();
    }
    stream->done++;
    all.done.notify_all();
  }
}

// A step that notes when the stream got there.
Step record_step(const std::shared_ptr<Record>& record) {
  return {kNodeEventRecord, [record](Context&) { record->time = std::chrono::steady_clock::now(); }, nullptr};
}

}  // namespace

std::shared_ptr<Stream> make_stream(Context& context, unsigned flags, int priority) {
  State& all = state();
  auto stream = std::make_shared<Stream>();
  stream->context = &context;
  stream->flags = flags;
  stream->priority = priority;
  stream->id = all.next_id++;
  all.queues.push_back(stream);
  if (!all.running) {
    all.running = true;
    std::thread(work).detach();
  }
  return stream;
}

std::shared_ptr<Stream> stream_of(Context& context, void* handle) {
  const auto number = reinterpret_cast<std::uintptr_t>(handle);
  if (number == 0 || number == kStreamLegacy || number == kStreamPerThread) {
    return context.legacy;
  }
  auto stream = state().streams.find(handle);
  return stream != nullptr && stream->context == &context ? stream : nullptr;
}

Result submit(Lock& lock, const std::shared_ptr<Stream>& stream, Step step, std::vector<Mark> after) {
  State& all = state();
  Context& context = *stream->context;
  if (stream->capture != nullptr) {
    return capture_step(stream, std::move(step));
  }
  // The legacy stream waits for all blocking streams, and they for it.
  if (stream == context.legacy) {
    for (const auto& weak : all.queues) {
      const auto other = weak.lock();
      if (other != nullptr && other->context == &context && other != stream && (other->flags & kStreamNonBlocking) == 0) {
        if (other->capture != nullptr) {
          other->capture->invalidated = true;
          return kCaptureImplicit;
        }
        after.push_back({other, other->issued});
      }
    }
  } else if ((stream->flags & kStreamNonBlocking) == 0) {
    after.push_back({context.legacy, context.legacy->issued});
  }
  std::erase_if(after, past);
  stream->queue.push_back({std::move(step), std::move(after)});
  stream->issued++;
  if (all.settings.eager) {
    want(*stream, stream->issued);
  }
  if (stream->issued - stream->done > kMostQueued) {
    return wait(lock, {stream, stream->issued - kMostQueued / 2});
  }
  return kSuccess;
}

Result wait(Lock& lock, const Mark& mark) {
  want(*mark.stream, mark.sequence);
  state().done.wait(lock, [&] { return past(mark); });
  return mark.stream->context->error;
}

void drain(Lock& lock, const Context* context) {
  const auto queues = state().queues;
  for (const auto& weak : queues) {
    const auto stream = weak.lock();
    if (stream != nullptr && (context == nullptr || stream->context == context)) {
      wait(lock, {stream, stream->issued});
    }
  }
}

}  // namespace rt::driver

using namespace rt::driver;

RT_API cuStreamCreateWithPriority(void** stream, unsigned flags, int priority) {
  return in_context([&](Lock&, Context& context) {
    if (stream == nullptr || flags > kStreamNonBlocking) {
      return kInvalidValue;
    }
    *stream = state().streams.add(make_stream(context, flags, std::clamp(priority, -5, 0)));
    return kSuccess;
  });
}

RT_API cuStreamCreate(void** stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }

// What the stream holds is still done.
RT_API cuStreamDestroy_v2(void* stream) {
  return in_context([&](Lock& lock, Context&) {
    const auto found = state().streams.find(stream);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    if (found->capture != nullptr) {
      found->capture->invalidated = true;
      found->capture = nullptr;
    }
    state().streams.remove(stream);
    return wait(lock, {found, found->issued});
  });
}

RT_API cuStreamSynchronize(void* stream) {
  return in_stream(stream, [&](Lock& lock, Context& context, const std::shared_ptr<Stream>& found) {
    if (found->capture != nullptr) {
      found->capture->invalidated = true;
      return kCaptureUnsupported;
    }
    if (found == context.legacy) {
      const Result submitted = submit(lock, found, {kNodeEmpty, nullptr, nullptr});
      if (submitted != kSuccess) {
        return submitted;
      }
    }
    return wait(lock, {found, found->issued});
  });
}

// Asking makes the work begin.
RT_API cuStreamQuery(void* stream) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    if (found->capture != nullptr) {
      found->capture->invalidated = true;
      return kCaptureUnsupported;
    }
    want(*found, found->issued);
    return found->done >= found->issued ? kSuccess : kNotReady;
  });
}

RT_API cuCtxSynchronize() {
  return in_context([&](Lock& lock, Context& context) {
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    drain(lock, &context);
    return context.error;
  });
}

RT_API cuStreamGetFlags(void* stream, unsigned* flags) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    *flags = found->flags;
    return kSuccess;
  });
}

RT_API cuStreamGetPriority(void* stream, int* priority) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    *priority = found->priority;
    return kSuccess;
  });
}

RT_API cuStreamGetId(void* stream, unsigned long long* id) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    *id = found->id;
    return kSuccess;
  });
}

RT_API cuStreamGetCtx(void* stream, void** context) {
  return in_stream(stream, [&](Lock&, Context&, const std::shared_ptr<Stream>& found) {
    *context = found->context;
    return kSuccess;
  });
}

RT_API cuLaunchHostFunc(void* stream, void (*function)(void*), void* data) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    if (function == nullptr) {
      return kInvalidValue;
    }
    return submit(lock, found, {kNodeHost, [=](Context&) { function(data); }, nullptr});
  });
}

// --- events ------------------------------------------------------------------------------------------

RT_API cuEventCreate(void** event, unsigned flags) {
  return in_context([&](Lock&, Context& context) {
    if (event == nullptr) {
      return kInvalidValue;
    }
    *event = state().events.add(std::make_shared<Event>(Event{&context, flags, nullptr}));
    return kSuccess;
  });
}

RT_API cuEventDestroy_v2(void* event) {
  return in_context([&](Lock&, Context&) { return state().events.remove(event) ? kSuccess : kInvalidHandle; });
}

RT_API cuEventRecord(void* event, void* stream) {
  return in_stream(stream, [&](Lock& lock, Context& context, const std::shared_ptr<Stream>& found) {
    const auto recorded = state().events.find(event);
    if (recorded == nullptr || recorded->context != &context) {
      return kInvalidHandle;
    }
    const auto record = std::make_shared<Record>();
    if (found->capture != nullptr) {
      recorded->record = record;
      return capture_record(found, *record);
    }
    const Result result = submit(lock, found, record_step(record));
    record->mark = {found, found->issued};
    recorded->record = record;
    return result;
  });
}

RT_API cuEventRecordWithFlags(void* event, void* stream, unsigned) { return cuEventRecord(event, stream); }

RT_API cuStreamWaitEvent(void* stream, void* event, unsigned) {
  return in_stream(stream, [&](Lock& lock, Context&, const std::shared_ptr<Stream>& found) {
    const auto waited = state().events.find(event);
    if (waited == nullptr) {
      return kInvalidHandle;
    }
    if (waited->record == nullptr) {
      return kSuccess;
    }
    if (found->capture != nullptr || waited->record->capture != nullptr) {
      return capture_wait(found, *waited->record);
    }
    return submit(lock, found, {kNodeWaitEvent, nullptr, nullptr}, {waited->record->mark});
  });
}

RT_API cuEventQuery(void* event) {
  return in_context([&](Lock&, Context&) {
    const auto found = state().events.find(event);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    if (found->record == nullptr) {
      return kSuccess;
    }
    if (found->record->capture != nullptr) {
      return kCapturedEvent;
    }
    const Mark& mark = found->record->mark;
    want(*mark.stream, mark.sequence);
    return past(mark) ? kSuccess : kNotReady;
  });
}

RT_API cuEventSynchronize(void* event) {
  return in_context([&](Lock& lock, Context& context) {
    const auto found = state().events.find(event);
    if (found == nullptr) {
      return kInvalidHandle;
    }
    const Result forbidden = forbidden_by_capture();
    if (forbidden != kSuccess) {
      return forbidden;
    }
    if (found->record == nullptr) {
      return kSuccess;
    }
    if (found->record->capture != nullptr) {
      return kCapturedEvent;
    }
    wait(lock, found->record->mark);
    return context.error;
  });
}

RT_API cuEventElapsedTime(float* milliseconds, void* start, void* end) {
  return in_context([&](Lock&, Context&) {
    const auto first = state().events.find(start);
    const auto last = state().events.find(end);
    if (first == nullptr || last == nullptr || ((first->flags | last->flags) & kEventDisableTiming) != 0 ||
        first->record == nullptr || last->record == nullptr || first->record->capture != nullptr ||
        last->record->capture != nullptr) {
      return kInvalidHandle;
    }
    if (!past(first->record->mark) || !past(last->record->mark)) {
      return kNotReady;
    }
    *milliseconds = std::chrono::duration<float, std::milli>(last->record->time - first->record->time).count();
    return kSuccess;
  });
}

RT_API cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  return cuEventElapsedTime(milliseconds, start, end);
}
