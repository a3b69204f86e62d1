package powercut

import (
	"context"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// Mount mounts a file system at point that stores its files in the folder back and records
// operations on them. A write is recorded after it was done and before its caller returns; a sync
// covers the writes recorded before it, and is not passed on. Mount needs /dev/fuse, and root or
// fusermount3; the error says which is missing. No process may use point after end.
func Mount(back, point string) (r *Record, end func() error, err error) {
	var st syscall.Stat_t
	if err := syscall.Stat(back, &st); err != nil {
		return nil, nil, err
	}
	m := &mount{record: &Record{}, back: back, numbers: map[uint64]uint64{}}
	root := &fs.LoopbackRoot{Path: back, Dev: st.Dev}
	top := &node{LoopbackNode: &fs.LoopbackNode{RootData: root}, mount: m}
	root.RootNode = top
	second := time.Second
	opt := &fs.Options{AttrTimeout: &second, EntryTimeout: &second, RootStableAttr: &fs.StableAttr{Ino: st.Ino, Mode: syscall.S_IFDIR}}
	opt.FsName, opt.Name, opt.MaxWrite = "powercut", "powercut", 1<<20
	opt.DirectMount = syscall.Geteuid() == 0
	server, err := fs.Mount(point, top, opt)
	if err != nil {
		return nil, nil, err
	}
	return m.record, func() error {
		for range 100 {
			if err = server.Unmount(); err == nil {
				return nil
			}
			time.Sleep(50 * time.Millisecond)
		}
		return err
	}, nil
}

// mount is the shared state of all nodes of a file system.
type mount struct {
	mu      sync.Mutex // one operation at a time, so that the record has the real order
	record  *Record
	back    string
	numbers map[uint64]uint64 // by inode; an inode may be reused for another file
	last    uint64
}

func (m *mount) inode(path string) uint64 {
	var st syscall.Stat_t
	if syscall.Lstat(filepath.Join(m.back, path), &st) != nil {
		return 0
	}
	return st.Ino
}

// number returns the number of a file; fresh gives it a new one.
func (m *mount) number(inode uint64, fresh bool) uint64 {
	if n, ok := m.numbers[inode]; ok && !fresh {
		return n
	}
	m.last++
	m.numbers[inode] = m.last
	return m.last
}

type node struct {
	*fs.LoopbackNode
	mount *mount
}

// handle prevents go-fuse from letting the kernel write to the underlying file directly.
type handle struct{ inner fs.FileHandle }

func (h *handle) Release(ctx context.Context) syscall.Errno {
	return h.inner.(fs.FileReleaser).Release(ctx)
}

func (h *handle) Flush(ctx context.Context) syscall.Errno {
	return h.inner.(fs.FileFlusher).Flush(ctx)
}

func below(f fs.FileHandle) fs.FileHandle {
	if h, ok := f.(*handle); ok {
		return h.inner
	}
	return f
}

// WrapChild wraps each new file and folder.
func (n *node) WrapChild(_ context.Context, ops fs.InodeEmbedder) fs.InodeEmbedder {
	return &node{LoopbackNode: ops.(*fs.LoopbackNode), mount: n.mount}
}

func (n *node) path() string { return n.Path(n.Root()) }

func (n *node) file() uint64 { return n.mount.number(n.StableAttr().Ino, false) }

func (n *node) Create(ctx context.Context, child string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	path := filepath.Join(n.path(), child)
	before := n.mount.inode(path)
	inode, f, more, errno := n.LoopbackNode.Create(ctx, child, flags, mode, out)
	if errno != 0 {
		return inode, f, more, errno
	}
	switch number := n.mount.number(n.mount.inode(path), before == 0); {
	case before == 0:
		n.mount.record.add(Op{Kind: Create, File: number, Path: path})
	case flags&syscall.O_TRUNC != 0:
		n.mount.record.add(Op{Kind: Truncate, File: number, Path: path})
	}
	return inode, &handle{f}, more, 0
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	f, more, errno := n.LoopbackNode.Open(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	if flags&syscall.O_TRUNC != 0 {
		n.mount.record.add(Op{Kind: Truncate, File: n.file(), Path: n.path()})
	}
	return &handle{f}, more, 0
}

func (n *node) Read(ctx context.Context, f fs.FileHandle, into []byte, offset int64) (fuse.ReadResult, syscall.Errno) {
	return below(f).(fs.FileReader).Read(ctx, into, offset)
}

func (n *node) Write(ctx context.Context, f fs.FileHandle, data []byte, offset int64) (uint32, syscall.Errno) {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	written, errno := below(f).(fs.FileWriter).Write(ctx, data, offset)
	if errno == 0 {
		n.mount.record.add(Op{Kind: Write, File: n.file(), Path: n.path(), Offset: offset, Data: append([]byte(nil), data[:written]...)})
	}
	return written, errno
}

func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	kind := Sync
	if n.StableAttr().Mode&syscall.S_IFDIR != 0 {
		kind = SyncDir
	}
	return n.sync(kind)
}

func (n *node) sync(kind Kind) syscall.Errno {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	n.mount.record.add(Op{Kind: kind, File: n.file(), Path: n.path()})
	return 0
}

// folder is an open folder.
type folder struct {
	fs.FileHandle
	node *node
}

func (f *folder) Fsyncdir(context.Context, uint32) syscall.Errno { return f.node.sync(SyncDir) }

func (f *folder) Readdirent(ctx context.Context) (*fuse.DirEntry, syscall.Errno) {
	return f.FileHandle.(fs.FileReaddirenter).Readdirent(ctx)
}

func (f *folder) Seekdir(ctx context.Context, offset uint64) syscall.Errno {
	return f.FileHandle.(fs.FileSeekdirer).Seekdir(ctx, offset)
}

func (f *folder) Releasedir(ctx context.Context, flags uint32) {
	f.FileHandle.(fs.FileReleasedirer).Releasedir(ctx, flags)
}

func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	f, more, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	if errno != 0 {
		return nil, 0, errno
	}
	return &folder{f, n}, more, 0
}

func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, truncates := in.GetSize()
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	errno := n.LoopbackNode.Setattr(ctx, below(f), in, out)
	if errno == 0 && truncates {
		n.mount.record.add(Op{Kind: Truncate, File: n.file(), Path: n.path(), Size: int64(size)})
	}
	return errno
}

func (n *node) remove(child string, do func() syscall.Errno) syscall.Errno {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	path := filepath.Join(n.path(), child)
	number := n.mount.number(n.mount.inode(path), false)
	errno := do()
	if errno == 0 {
		n.mount.record.add(Op{Kind: Remove, File: number, Path: path})
	}
	return errno
}

func (n *node) Unlink(ctx context.Context, child string) syscall.Errno {
	return n.remove(child, func() syscall.Errno { return n.LoopbackNode.Unlink(ctx, child) })
}

func (n *node) Rmdir(ctx context.Context, child string) syscall.Errno {
	return n.remove(child, func() syscall.Errno { return n.LoopbackNode.Rmdir(ctx, child) })
}

func (n *node) Rename(ctx context.Context, child string, parent fs.InodeEmbedder, to string, flags uint32) syscall.Errno {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	from, target := filepath.Join(n.path(), child), filepath.Join(parent.EmbeddedInode().Path(n.Root()), to)
	number := n.mount.number(n.mount.inode(from), false)
	errno := n.LoopbackNode.Rename(ctx, child, parent, to, flags)
	if errno == 0 {
		n.mount.record.add(Op{Kind: Rename, File: number, Path: from, To: target})
	}
	return errno
}

func (n *node) Mkdir(ctx context.Context, child string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	n.mount.mu.Lock()
	defer n.mount.mu.Unlock()
	path := filepath.Join(n.path(), child)
	inode, errno := n.LoopbackNode.Mkdir(ctx, child, mode, out)
	if errno == 0 {
		n.mount.record.add(Op{Kind: Mkdir, File: n.mount.number(n.mount.inode(path), true), Path: path})
	}
	return inode, errno
}

func (n *node) Getattr(ctx context.Context, f fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	return n.LoopbackNode.Getattr(ctx, below(f), out)
}

func (n *node) Statx(ctx context.Context, f fs.FileHandle, flags, mask uint32, out *fuse.StatxOut) syscall.Errno {
	return n.LoopbackNode.Statx(ctx, below(f), flags, mask, out)
}

func (n *node) CopyFileRange(context.Context, fs.FileHandle, uint64, *fs.Inode, fs.FileHandle, uint64, uint64, uint64) (uint32, syscall.Errno) {
	return 0, syscall.ENOSYS
}

func (n *node) Link(context.Context, fs.InodeEmbedder, string, *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return nil, syscall.ENOTSUP
}
