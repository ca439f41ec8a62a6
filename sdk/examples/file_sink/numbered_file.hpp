// SPDX-License-Identifier: Apache-2.0
//
// A file that is appended to and known by number and size: PATH.000001, PATH.000002, ... What lies
// behind a known place can be taken back, which is what makes writing it twice harmless.
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace sink {

struct Place {  // the end of what is written for good
  std::uint32_t number = 1;
  std::uint64_t size_bytes = 0;
};

// Not thread-safe. Failures are std::system_error; after one, `rewind` to the last good place.
class NumberedFile {
 public:
  explicit NumberedFile(std::string path) : path_(std::move(path)) {}
  ~NumberedFile() { close(); }
  NumberedFile(const NumberedFile&) = delete;
  NumberedFile& operator=(const NumberedFile&) = delete;

  // Opens the file of `place` and cuts off what is behind it there and in later files.
  void rewind(const Place& place) {
    close();
    for (std::uint32_t next = place.number + 1; std::filesystem::exists(name(next)); ++next) {
      std::filesystem::remove(name(next));
    }
    fd_ = ::open(name(place.number).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (fd_ < 0) fail(place.number);
    struct stat status {};
    if (::fstat(fd_, &status) != 0) fail(place.number);
    if (S_ISREG(status.st_mode)) {
      if (static_cast<std::uint64_t>(status.st_size) < place.size_bytes) {
        throw std::system_error(EIO, std::generic_category(), name(place.number) + " is shorter");
      }
      if (::ftruncate(fd_, static_cast<off_t>(place.size_bytes)) != 0) fail(place.number);
    }
    place_ = place;
  }

  // Appends, in a new file where this one would grow beyond `size_bytes_max`, and waits for the
  // disk.
  void append(std::string_view lines, std::uint64_t size_bytes_max) {
    if (place_.size_bytes > 0 && place_.size_bytes + lines.size() > size_bytes_max) {
      rewind({place_.number + 1, 0});
    }
    for (std::size_t done = 0; done < lines.size();) {
      const ssize_t written = ::write(fd_, lines.data() + done, lines.size() - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(place_.number);
      done += static_cast<std::size_t>(written);
    }
    if (::fdatasync(fd_) != 0) fail(place_.number);
    place_.size_bytes += lines.size();
  }

  const Place& place() const { return place_; }

  // Files that are there although nothing is known of them go aside, never away.
  void set_aside() const {
    for (std::uint32_t number = 1; std::filesystem::exists(name(number)); ++number) {
      const std::string file = name(number);
      if (!std::filesystem::is_regular_file(file) || std::filesystem::file_size(file) == 0)
        continue;
      std::string aside = file + ".before";
      while (std::filesystem::exists(aside)) aside += "_";
      std::filesystem::rename(file, aside);
    }
  }

 private:
  std::string name(std::uint32_t number) const {
    char digits[16];
    std::snprintf(digits, sizeof digits, ".%06u", number);
    return path_ + digits;
  }
  [[noreturn]] void fail(std::uint32_t number) const {
    throw std::system_error(errno, std::generic_category(), name(number));
  }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  std::string path_;
  int fd_ = -1;
  Place place_;
};

}  // namespace sink
