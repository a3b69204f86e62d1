//go:build !slim && !386 && !arm && (linux || darwin || freebsd || windows)

package javascript

import (
	"math/bits"
	"sync"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"
)

// A heap is the region of memory of one engine. All of it is mapped at once, and used from the front, so
// that unused pages cost nothing. Nothing in it is freed at the end: the region is unmapped. Revoking it
// ends an engine that does not look at the clock, such as one in a long loop of a built-in function.
type heap struct {
	mu     sync.Mutex // for revoke
	region []byte
	base   uintptr
}

// heapState is at the start of the region, for the functions that the engine calls.
type heapState struct {
	next, end uintptr
	// free has the first freed block of each size.
	free [sizes]uintptr
	full uintptr // 1 after a request for memory failed
}

const (
	// blockHeader precedes each block, and has the index of its size.
	blockHeader = 16
	// Four sizes for each power of two, from 32 bytes on.
	minBits = 5
	sizes   = 4 * (48 - minBits)
)

func newHeap(size int) (*heap, error) {
	region, err := mapMemory(size)
	if err != nil {
		return nil, err
	}
	h := &heap{region: region, base: uintptr(unsafe.Pointer(unsafe.SliceData(region)))}
	s := h.state()
	s.next, s.end = h.base+(unsafe.Sizeof(heapState{})+15)&^15, h.base+uintptr(size)
	return h, nil
}

func (h *heap) state() *heapState { return at[heapState](h.base) }

// revoke makes every access to the region a fault, which is a panic in the engine's goroutine.
func (h *heap) revoke() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.region != nil {
		protectMemory(h.region)
	}
}

func (h *heap) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	unmapMemory(h.region)
	h.region = nil
}

// pointer returns the C function pointer of a Go function, which captures no variables.
func pointer(function any) uintptr {
	type iface [2]uintptr
	return (*iface)(unsafe.Pointer(&function))[1]
}

// at returns the value at an address outside Go's memory, which the garbage collector does not move.
func at[T any](address uintptr) *T { return *(**T)(unsafe.Pointer(&address)) }

// alloc returns n bytes for Go code to fill; 0 if the heap is full.
func (h *heap) alloc(n int) uintptr { return h.state().malloc(uintptr(n)) }

// sizeOf returns the index of the smallest size that has n bytes, and that size.
func sizeOf(n uintptr) (index int, size uintptr) {
	n = max(n, 1<<minBits)
	top := bits.Len64(uint64(n-1)) - 1 // n is at most 2^(top+1)
	if n == 1<<minBits {
		return 0, n
	}
	step := uintptr(1) << (top - 2)
	quarter := (n - uintptr(1)<<top + step - 1) / step
	return 4*(top-minBits) + int(quarter), uintptr(1)<<top + quarter*step
}

func (s *heapState) malloc(n uintptr) uintptr {
	if n > s.end-s.next && n > 1<<32 {
		s.full = 1
		return 0
	}
	index, size := sizeOf(n)
	if block := s.free[index]; block != 0 {
		s.free[index] = *at[uintptr](block)
		return block
	}
	if size+blockHeader > s.end-s.next {
		s.full = 1
		return 0
	}
	block := s.next + blockHeader
	s.next = block + size
	*at[uintptr](block - blockHeader) = uintptr(index)
	*at[uintptr](block - blockHeader + 8) = size
	return block
}

func usable(block uintptr) uintptr { return *at[uintptr](block - blockHeader + 8) }

func (s *heapState) release(block uintptr) {
	if size := usable(block); block+size == s.next {
		s.next = block - blockHeader // it is the last one
		return
	}
	index := *at[uintptr](block - blockHeader)
	*at[uintptr](block) = s.free[index]
	s.free[index] = block
}

// The functions that the engine calls, and their table.
var allocator = [4]uintptr{
	pointer(heapMalloc), pointer(heapFree), pointer(heapRealloc), pointer(heapUsable),
}

func stateOf(s *lib.TJSMallocState) *heapState { return at[heapState](s.Fopaque) }

func heapMalloc(_ *libc.TLS, state uintptr, n lib.Tsize_t) uintptr {
	s := at[lib.TJSMallocState](state)
	block := stateOf(s).malloc(uintptr(n))
	if block != 0 {
		s.Fmalloc_count++
		s.Fmalloc_size += lib.Tsize_t(usable(block))
	}
	return block
}

func heapFree(_ *libc.TLS, state, block uintptr) {
	if block == 0 {
		return
	}
	s := at[lib.TJSMallocState](state)
	s.Fmalloc_count--
	s.Fmalloc_size -= lib.Tsize_t(usable(block))
	stateOf(s).release(block)
}

func heapRealloc(tls *libc.TLS, state, block uintptr, n lib.Tsize_t) uintptr {
	switch {
	case n == 0:
		heapFree(tls, state, block)
		return 0
	case block == 0:
		return heapMalloc(tls, state, n)
	case uintptr(n) <= usable(block) && uintptr(n) >= usable(block)/2:
		return block
	}
	moved := heapMalloc(tls, state, n)
	if moved == 0 {
		return 0
	}
	length := min(usable(block), uintptr(n))
	copy(unsafe.Slice(at[byte](moved), length), unsafe.Slice(at[byte](block), length))
	heapFree(tls, state, block)
	return moved
}

func heapUsable(_ *libc.TLS, block uintptr) lib.Tsize_t {
	if block == 0 {
		return 0
	}
	return lib.Tsize_t(usable(block))
}
