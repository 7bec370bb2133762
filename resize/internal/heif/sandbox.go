package heif

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	_ "unsafe" // for go:linkname

	_ "github.com/gen2brain/avif" // for its codec
	_ "github.com/gen2brain/heic"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// The codecs as WebAssembly, compressed. Their modules export functions that
// decode, but in a memory without a bound; so only their bytes are taken. A version
// of theirs without these names does not link.
//
//go:linkname hevcWasm github.com/gen2brain/heic.heifWasm
var hevcWasm []byte

//go:linkname av1Wasm github.com/gen2brain/avif.decodeWasm
var av1Wasm []byte

// program is a codec, compiled.
type program struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
}

var (
	hevcProgram = sync.OnceValues(func() (program, error) { return compile(hevcWasm) })
	av1Program  = sync.OnceValues(func() (program, error) { return compile(av1Wasm) })
)

// compile makes machine code of a codec. That wazero can end an instance with its
// context is left out: the checks for it make the code four times as slow. The
// process is ended instead.
func compile(compressed []byte) (program, error) {
	ctx := context.Background()
	z, err := gzip.NewReader(bytes.NewReader(compressed))
	if err != nil {
		return program{}, fmt.Errorf("unpack codec: %w", err)
	}
	wasm, err := io.ReadAll(z)
	if err != nil {
		return program{}, fmt.Errorf("unpack codec: %w", err)
	}
	p := program{runtime: wazero.NewRuntime(ctx)}
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, p.runtime); err != nil {
		return program{}, fmt.Errorf("prepare codec: %w", err)
	}
	if p.module, err = p.runtime.CompileModule(ctx, wasm); err != nil {
		return program{}, fmt.Errorf("compile codec: %w", err)
	}
	return p, nil
}

// memory is the memory of one instance. It grows to a bound that is allocated at
// once and becomes resident where it is written to.
type memory []byte

// Allocate begins with an empty memory.
func (m memory) Allocate(uint64, uint64) experimental.LinearMemory { return m }

// Reallocate returns the memory in that size, or nil over the bound.
func (m memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m)) {
		return nil
	}
	return m[:size:size]
}

// Free leaves the memory to the garbage collector.
func (m memory) Free() {}

// instance is a codec at work.
type instance struct {
	module api.Module
}

var errCodec = errors.New("the codec cannot read it")

// start makes an instance in that memory, which must hold zeros.
func (p program) start(m memory) (instance, error) {
	ctx := experimental.WithMemoryAllocator(context.Background(), m)
	module, err := p.runtime.InstantiateModule(ctx, p.module, wazero.NewModuleConfig().WithName(""))
	return instance{module}, err
}

// call calls an exported function and returns its result.
func (i instance) call(name string, args ...uint64) (uint64, error) {
	results, err := i.module.ExportedFunction(name).Call(context.Background(), args...)
	if err != nil { // it crashed, and would say where in its code
		return 0, errCodec
	}
	return results[0] & 0xffffffff, nil
}

// allocate returns the address of that many bytes in the instance.
func (i instance) allocate(size int) (uint64, error) {
	at, err := i.call("malloc", uint64(size))
	if err == nil && at == 0 {
		err = errCodec
	}
	return at, err
}

// put copies bytes into the instance.
func (i instance) put(b []byte) (uint64, error) {
	at, err := i.allocate(len(b))
	if err == nil && !i.module.Memory().Write(uint32(at), b) {
		err = errCodec
	}
	return at, err
}

// take returns n bytes at an address. They are the instance's.
func (i instance) take(at uint64, n int) ([]byte, error) {
	b, ok := i.module.Memory().Read(uint32(at), uint32(n))
	if !ok {
		return nil, errCodec
	}
	return b, nil
}

// numbers reads 32-bit numbers at an address.
func (i instance) numbers(at uint64, n int) []int {
	all := make([]int, n)
	for k := range all {
		v, _ := i.module.Memory().ReadUint32Le(uint32(at) + uint32(4*k))
		all[k] = int(v)
	}
	return all
}
