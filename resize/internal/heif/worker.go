package heif

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"mmspipe/resize/internal/jpeg"
)

// workerName is the name under which the program starts itself as a worker.
const workerName = "mmspipe-picture-codec"

// The program is a worker, and nothing else of it runs, where it was started
// under that name.
func init() {
	if len(os.Args) == 1 && os.Args[0] == workerName {
		work(os.Stdin, os.Stdout)
		os.Exit(0)
	}
}

// job is a coded picture for a worker.
type job struct {
	AV1           bool
	Width, Height int
	File          []byte        // with this picture alone
	Memory        int64         // bound on the instance, bytes
	CPU           time.Duration // bound on the worker's CPU time for this
}

// answer is what a worker makes of a job.
type answer struct {
	Picture *jpeg.Picture // nil where the codec cannot read it
	Reason  string
}

// exitSlow is the exit status of a worker that reached the bound on CPU time.
const exitSlow = 3

// work answers jobs until there are no more. WebAssembly's code cannot be
// interrupted: what waits for all goroutines, as the garbage collector does, waits
// for the picture. So it only runs between two jobs.
func work(in io.Reader, out io.Writer) {
	debug.SetGCPercent(-1)
	var bound atomic.Int64 // on the process's CPU time; 0 while there is no job
	go func() {
		for range time.Tick(100 * time.Millisecond) {
			if b := bound.Load(); b > 0 && cpuTime() > time.Duration(b) {
				os.Exit(exitSlow)
			}
		}
	}()
	jobs, answers := gob.NewDecoder(in), gob.NewEncoder(out)
	for {
		var j job
		if jobs.Decode(&j) != nil {
			return
		}
		code, err := hevcProgram, error(nil)
		if j.AV1 {
			code = av1Program
		}
		var a answer
		p, err := code() // not on the job's account
		if err == nil {
			bound.Store(int64(cpuTime() + j.CPU))
			a.Picture, err = j.decode(p)
			bound.Store(0)
		}
		if err != nil {
			a.Reason = err.Error()
		}
		if answers.Encode(a) != nil {
			return
		}
		a, j = answer{}, job{}
		runtime.GC()
	}
}

// cpuTime returns the CPU time that this process has taken.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// worker is a process that decodes. It has neither this one's environment nor its
// files, and ends when the pipe to it is closed.
type worker struct {
	process *exec.Cmd
	in      io.Closer
	jobs    *gob.Encoder
	answers *gob.Decoder
}

// idle is the worker that has no job and has compiled its codecs already.
var idle = make(chan *worker, 1)

// idleTime is after which a worker without a job is ended, so that its memory is
// free where there are few such pictures.
const idleTime = time.Minute

// takeWorker returns the idle worker or a new one.
func takeWorker() (*worker, error) {
	select {
	case w := <-idle:
		return w, nil
	default:
		return startWorker()
	}
}

// leave keeps a worker for the next picture, or ends it where there is one.
func (w *worker) leave() {
	select {
	case idle <- w:
		time.AfterFunc(idleTime, func() {
			select {
			case w := <-idle: // or one that took its place, which costs a start
				w.end()
			default:
			}
		})
	default:
		w.end()
	}
}

func startWorker() (*worker, error) {
	// On Linux this is the running program, whatever has become of its file.
	path := "/proc/self/exe"
	if runtime.GOOS != "linux" {
		var err error
		if path, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find program for decoding: %w", err)
		}
	}
	cmd := &exec.Cmd{Path: path, Args: []string{workerName}, Env: []string{}, Dir: "/"}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start decoding: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start decoding: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start decoding: %w", err)
	}
	return &worker{process: cmd, in: in, jobs: gob.NewEncoder(in), answers: gob.NewDecoder(out)}, nil
}

// end ends a worker that has no job.
func (w *worker) end() {
	_ = w.in.Close()
	_ = w.process.Wait()
}

var errSlow = errors.New("it takes longer to decode than its size explains")

// do has a worker decode one picture. After an error of the worker itself, which
// failed reports, there is no worker any more.
func (w *worker) do(ctx context.Context, j job) (p *jpeg.Picture, failed bool, err error) {
	stop := context.AfterFunc(ctx, func() { _ = w.process.Process.Kill() })
	defer stop()
	var a answer
	if err = w.jobs.Encode(j); err == nil {
		err = w.answers.Decode(&a)
	}
	switch {
	case err != nil:
		_ = w.in.Close() // it ends, if it has not
		_ = w.process.Wait()
		switch {
		case ctx.Err() != nil:
			return nil, true, ctx.Err()
		case w.process.ProcessState.ExitCode() == exitSlow:
			return nil, true, errSlow
		}
		return nil, true, fmt.Errorf("the decoding process ended: %w", err)
	case a.Picture == nil:
		return nil, false, errors.New(a.Reason)
	}
	return a.Picture, false, nil
}
