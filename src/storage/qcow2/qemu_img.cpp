#include "storage/qcow2/qemu_img.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

// Runs qemu-img to merge, rebase and shrink images, and looks at QEMU's byte-range locks to learn
// who has an image open. The program is started without a shell and gets only PATH and LC_ALL; its
// exit status and what it writes to stderr become the error. There is no time limit: a call waits
// until the program ends. If this process is killed, a qemu-img that it has started goes on.

namespace understudy::qcow2 {
namespace {

constexpr std::size_t kMaxStderr = 4096;  // as much as an Error needs; the rest is read and dropped

std::string drain(int fd) {
    std::string text;
    std::array<char, 1024> buffer{};
    for (;;) {
        const auto got = ::read(fd, buffer.data(), buffer.size());
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        const auto room = kMaxStderr - text.size();
        text.append(buffer.data(), std::min(room, static_cast<std::size_t>(got)));
    }
    while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
    for (char& c : text)
        if (c == '\n') c = ' ';
    return text;
}

struct SpawnSetup {
    posix_spawn_file_actions_t files{};
    posix_spawnattr_t attributes{};

    explicit SpawnSetup(int stderr_fd) {
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_adddup2(&files, stderr_fd, STDERR_FILENO);
        posix_spawnattr_init(&attributes);
        sigset_t none;
        sigset_t defaults;
        sigemptyset(&none);
        sigfillset(&defaults);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &defaults);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    }
    ~SpawnSetup() {
        posix_spawn_file_actions_destroy(&files);
        posix_spawnattr_destroy(&attributes);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
};

Error failed(std::string_view what, std::string_view message) {
    const auto text = fmt::format("{}: {}", what, message);
    if (message.contains("No space left on device") || message.contains("Disk quota exceeded"))
        return Error(ErrorKind::no_space, text);
    if (message.contains("Failed to get"))
        return Error(ErrorKind::conflict, text)
            .advising("A VM or another program has the disk open; stop it, or merge it live.");
    if (message.contains("No such file")) return Error(ErrorKind::not_found, text);
    return Error(ErrorKind::internal, text);
}

Result<> run(std::vector<std::string> arguments) {
    const std::string what = "qemu-img " + arguments.front();
    arguments.insert(arguments.begin(), "qemu-img");
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    const char* path = std::getenv("PATH");
    std::string path_variable = fmt::format("PATH={}", path ? path : "/usr/sbin:/usr/bin");
    std::string locale = "LC_ALL=C";  // its messages are matched above
    std::array<char*, 3> environment{path_variable.data(), locale.data(), nullptr};

    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return fail(errno_error(errno, what + ": pipe"));
    Fd reading(ends[0]);
    Fd writing(ends[1]);
    const SpawnSetup setup(writing.get());
    pid_t child = -1;
    const int error = ::posix_spawnp(&child, "qemu-img", &setup.files, &setup.attributes,
                                     argv.data(), environment.data());
    if (error != 0)
        return fail(errno_error(error, "start qemu-img").advising("Install qemu-utils."));
    writing.reset();
    const auto message = drain(reading.get());
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return fail(errno_error(errno, what + ": wait"));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
    if (WIFSIGNALED(status))
        return fail(ErrorKind::unavailable,
                    fmt::format("{}: killed by signal {}", what, WTERMSIG(status)));
    return fail(failed(what, message.empty() ? "failed without a message" : message));
}

// Whether somebody else, by another open file, holds a lock of QEMU's on this image.
bool locked_by_others(int fd) {
    struct flock query{};
    query.l_type = F_WRLCK;
    query.l_whence = SEEK_SET;
    query.l_start = 100;
    query.l_len = 200;
    return ::fcntl(fd, F_OFD_GETLK, &query) == 0 && query.l_type != F_UNLCK;
}

}  // namespace

Result<> commit_layer(const std::string& top, const std::string& top_format,
                      const std::string& base) {
    return run({"commit", "-q", "-d", "-f", top_format, "-b", base, top});
}

Result<> rebase_header(const std::string& image, const std::string& backing,
                       const std::string& backing_format) {
    return run({"rebase", "-q", "-u", "-f", "qcow2", "-F", backing_format, "-b", backing, image});
}

Result<> shrink_image(const std::string& image, const std::string& format, ByteSize size) {
    return run({"resize", "-q", "--shrink", "-f", format, image, fmt::format("{}", size.count())});
}

bool in_use_by_qemu(const std::string& image) {
    const Fd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
    return file && locked_by_others(file.get());
}

Result<WriteGuard> WriteGuard::take(const std::string& image) {
    WriteGuard guard(Fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC)));
    if (!guard.fd_) return fail(errno_error(errno, "open " + image));
    // "I do not share": BLK_PERM_WRITE, _WRITE_UNCHANGED and _RESIZE (bits 1 to 3).
    struct flock lock{};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    lock.l_start = 201;
    lock.l_len = 3;
    if (::fcntl(guard.fd_.get(), F_OFD_SETLK, &lock) != 0)
        return fail(errno_error(errno, "lock " + image));
    if (locked_by_others(guard.fd_.get()))
        return fail(Error(ErrorKind::conflict, image + " was opened by a VM in the meantime")
                        .advising("Repeat this; it is merged live while the VM runs."));
    return guard;
}

}  // namespace understudy::qcow2
