// SPDX-License-Identifier: Apache-2.0
#include "files.hpp"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ephor/plugin.hpp>
#include <fstream>
#include <sstream>

namespace ephor::reporter {
namespace {

[[noreturn]] void fail(const std::filesystem::path& file, const char* what) {
  throw Error(EPHOR_IO, file.string() + ": " + what + ": " + std::strerror(errno));
}

class Descriptor {
 public:
  Descriptor(const std::filesystem::path& file, int flags) : file_(file) {
    number_ = ::open(file.c_str(), flags | O_CLOEXEC, 0640);
    if (number_ < 0) fail(file_, "cannot be opened");
  }
  ~Descriptor() { ::close(number_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  void write(std::string_view bytes) const {
    while (!bytes.empty()) {
      const ssize_t done = ::write(number_, bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail(file_, "cannot be written");
      bytes.remove_prefix(static_cast<std::size_t>(done));
    }
  }
  void sync() const {
    if (::fsync(number_) != 0) fail(file_, "cannot be synced");
  }

 private:
  const std::filesystem::path& file_;
  int number_ = -1;
};

}  // namespace

void write_file(const std::filesystem::path& file, std::string_view bytes) {
  std::error_code failure;
  std::filesystem::create_directories(file.parent_path(), failure);
  if (failure) throw Error(EPHOR_IO, file.parent_path().string() + ": " + failure.message());
  std::filesystem::path temporary = file;
  temporary += ".tmp";
  {
    const Descriptor out(temporary, O_WRONLY | O_CREAT | O_TRUNC);
    out.write(bytes);
    out.sync();
  }
  std::filesystem::rename(temporary, file, failure);
  if (failure) throw Error(EPHOR_IO, file.string() + ": " + failure.message());
  const std::filesystem::path folder = file.parent_path();
  Descriptor(folder, O_RDONLY | O_DIRECTORY).sync();
}

std::string read_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream bytes;
  if (in) bytes << in.rdbuf();
  if (!in) throw Error(EPHOR_NOT_FOUND, file.filename().string() + " is not there any more");
  return std::move(bytes).str();
}

std::string sha256_hex(std::string_view bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1) {
    throw Error(EPHOR_INTERNAL, "SHA-256 is not available");
  }
  std::string out;
  for (unsigned i = 0; i < size; ++i) {
    out += "0123456789abcdef"[digest[i] >> 4U];
    out += "0123456789abcdef"[digest[i] & 15U];
  }
  return out;
}

}  // namespace ephor::reporter
