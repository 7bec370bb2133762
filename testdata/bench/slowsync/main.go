//go:build linux

// The slowsync command runs another on a disk that is slow to sync:
//
//	go run ./testdata/bench/slowsync 2ms go test ./store/stream -run '^$' -bench PublishJob
//
// Each fsync, fdatasync and open of a file for synchronous writing waits that
// long before it is done, in the command and all that it starts. (A file that
// nats-server opens so is written once and closed: the open stands for the
// write.) With -count FILE before the duration, the file always says how many there
// were. It needs no privileges: the kernel reports the calls by seccomp's user
// notification (seccomp_unotify(2), Linux 5.5).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		if status, ok := errors.AsType[*exec.ExitError](err); ok {
			os.Exit(status.ExitCode())
		}
		fmt.Fprintln(os.Stderr, "slowsync:", err)
		os.Exit(1)
	}
}

// run starts itself a second time to become the command, and slows that down.
func run(args []string) error {
	if len(args) > 0 && args[0] == "become" {
		return become(args[1:])
	}
	flags := flag.NewFlagSet("slowsync", flag.ContinueOnError)
	count := flags.String("count", "", "file that says how many calls there were")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if args = flags.Args(); len(args) < 2 {
		return errors.New("usage: slowsync [-count FILE] DURATION COMMAND [ARGUMENT…]")
	}
	delay, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	child := exec.Command(self, append([]string{"become"}, args[1:]...)...)
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.ExtraFiles = []*os.File{os.NewFile(uintptr(ends[1]), "supervisor")} // descriptor 3 there
	if err := child.Start(); err != nil {
		return err
	}
	child.ExtraFiles[0].Close()
	listener, err := receive(ends[0])
	if err != nil {
		return err
	}
	calls := new(atomic.Int64)
	go supervise(listener, delay, calls)
	if *count != "" {
		go report(*count, calls)
	}
	return child.Wait()
}

// become installs the filter, sends its listener to the supervisor and turns into
// the command.
func become(args []string) error {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the filter is this thread's, and that of what it becomes
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	filter := filter()
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if err := unix.Sendmsg(3, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("send listener: %w", err)
	}
	unix.CloseOnExec(3)
	unix.CloseOnExec(int(listener))
	return syscall.Exec(path, args, os.Environ())
}

// filter is a BPF program over struct seccomp_data: the call's number is at 0, the
// third argument, an open's flags, at 32.
func filter() []unix.SockFilter {
	const load, equal, bits, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	return []unix.SockFilter{
		{Code: load, K: 0},
		{Code: equal, K: unix.SYS_FSYNC, Jt: 5},
		{Code: equal, K: unix.SYS_FDATASYNC, Jt: 4},
		{Code: equal, K: unix.SYS_OPENAT, Jf: 2},
		{Code: load, K: 32},
		{Code: bits, K: unix.O_DSYNC, Jt: 1}, // O_SYNC has that bit too
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_USER_NOTIF},
	}
}

// receive takes the listener that become sends.
func receive(socket int) (int, error) {
	rights := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, make([]byte, 1), rights, 0)
	if err != nil {
		return 0, err
	}
	messages, err := unix.ParseSocketControlMessage(rights[:n])
	if err != nil || len(messages) != 1 {
		return 0, errors.New("the command could not be started under a filter")
	}
	descriptors, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return 0, err
	}
	return descriptors[0], nil
}

// notification and answer are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	data       [64]byte
}

type answer struct {
	id    uint64
	value int64
	errno int32
	flags uint32
}

// report keeps a file that says how many calls there were, up to a tenth of a second ago.
func report(path string, calls *atomic.Int64) {
	for range time.Tick(100 * time.Millisecond) {
		next := path + ".next"
		if os.WriteFile(next, fmt.Appendln(nil, calls.Load()), 0o600) == nil {
			_ = os.Rename(next, path)
		}
	}
}

// supervise counts the reported calls and lets each go on after the delay.
func supervise(listener int, delay time.Duration, calls *atomic.Int64) {
	for {
		var n notification
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_RECV, uintptr(unsafe.Pointer(&n)))
		if errno != 0 { // the caller was killed or interrupted
			continue
		}
		calls.Add(1)
		time.AfterFunc(delay, func() {
			a := answer{id: n.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
			_, _, _ = unix.Syscall(unix.SYS_IOCTL, uintptr(listener), unix.SECCOMP_IOCTL_NOTIF_SEND, uintptr(unsafe.Pointer(&a)))
		})
	}
}
