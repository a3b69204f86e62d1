// Package powercut builds, for tests, the states in which a power cut may leave files, and checks
// them for webhooks that were acknowledged before.
//
// A Record has every change that a program made to its files, in order: writes with their bytes,
// truncations, names, and syncs. After a cut, synced data is there. Of unsynced data, nothing,
// everything, or any part may be there, in any order: pages of 4,096 bytes and sectors of 512 are
// atomic, and nothing larger. POSIX permits that, and disks with a write cache do it.
//
// Two recorders make records: [Mount], a file system (FUSE) under the real binary, and [VFS], a
// layer around SQLite's own file access in one process, for machines without FUSE.
package powercut

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Kind is the kind of an operation.
type Kind int

// Kinds of operations.
const (
	Create Kind = iota
	Mkdir
	Write
	Truncate
	Sync    // of a file's content
	SyncDir // of the names in a folder
	Rename
	Remove
)

// Op is one operation.
type Op struct {
	Kind     Kind
	File     uint64 // number of the file or folder, the same under all its names
	Path, To string // below the recorded folder; To is a rename's new path
	Offset   int64
	Size     int64 // of a truncation
	Data     []byte
}

// Record is a list of operations in their order. It may be used by several goroutines.
type Record struct {
	mu  sync.Mutex
	ops []Op
}

func (r *Record) add(op Op) {
	r.mu.Lock()
	r.ops = append(r.ops, op)
	r.mu.Unlock()
}

// Len returns the number of operations so far. Every cut after that many operations must preserve
// the webhooks acknowledged before the call.
func (r *Record) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.ops)
}

// Ops returns the operations so far.
func (r *Record) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.ops)
}

// ForgetSyncs returns the operations without a share of the syncs of paths that contain part. The
// cuts must detect a program with such a fault.
func ForgetSyncs(ops []Op, part string, share float64, random *rand.Rand) []Op {
	return slices.DeleteFunc(slices.Clone(ops), func(op Op) bool {
		return op.Kind == Sync && strings.Contains(op.Path, part) && random.Float64() < share
	})
}

// Points returns n different cuts in ascending order: half of them right before or after a sync, a
// change of names, or the first write of a file, and half anywhere from first on.
func Points(ops []Op, first, n int, random *rand.Rand) []int {
	var special []int
	for i, op := range ops {
		if i >= first && (op.Kind != Write || op.Offset == 0) {
			special = append(special, i)
		}
	}
	chosen := map[int]bool{}
	for attempt := 0; len(chosen) < n && attempt < 20*n; attempt++ {
		at := first + random.IntN(max(len(ops)-first, 1)) + 1
		if random.IntN(2) == 0 && len(special) > 0 {
			at = special[random.IntN(len(special))] + random.IntN(2)
		}
		chosen[at] = true
	}
	points := make([]int, 0, len(chosen))
	for at := range chosen {
		points = append(points, at)
	}
	slices.Sort(points)
	return points
}

// Loss is how much unsynced data survives a cut.
type Loss int

// Losses.
const (
	All     Loss = iota // no unsynced data survives
	Pages               // any pages of 4,096 bytes survive
	Sectors             // any sectors of 512 bytes survive
	None                // everything survives, as after a kill of the program
)

// AnyLoss returns one of the losses.
func AnyLoss(random *rand.Rand) Loss { return Loss(random.IntN(int(None) + 1)) }

// Disk is the state of a folder, with durable and pending changes. The zero value has no files.
type Disk struct {
	files   map[uint64]*content
	folders map[uint64]bool
	names   map[string]uint64 // durable names
	pending []name            // pending changes of names, in order
}

type content struct {
	durable []byte
	pending []Op
}

// name assigns a path to a file; file 0 removes the path.
type name struct {
	path string
	file uint64
}

// Do applies an operation.
func (d *Disk) Do(op Op) {
	if d.files == nil {
		d.files, d.folders, d.names = map[uint64]*content{}, map[uint64]bool{}, map[string]uint64{}
	}
	f := d.files[op.File]
	if f == nil {
		f = &content{}
		d.files[op.File] = f
	}
	switch op.Kind {
	case Create:
		d.pending = append(d.pending, name{op.Path, op.File})
	case Mkdir:
		d.folders[op.File] = true
		d.pending = append(d.pending, name{op.Path, op.File})
	case Remove:
		d.pending = append(d.pending, name{op.Path, 0})
	case Rename:
		d.pending = append(d.pending, name{op.To, op.File}, name{op.Path, 0})
	case Write, Truncate:
		f.pending = append(f.pending, op)
	case Sync:
		for _, op := range f.pending {
			f.durable = applied(f.durable, op)
		}
		f.pending = nil
		// ext4, xfs and btrfs write a file's names together with its content: their
		// journals preserve the order.
		d.settleNames(d.pending)
	case SyncDir:
		d.settleNames(d.pending)
	}
}

func (d *Disk) settleNames(list []name) {
	for _, n := range list {
		setName(d.names, n)
	}
	d.pending = nil
}

func setName(names map[string]uint64, n name) {
	if n.file == 0 {
		delete(names, n.path)
		return
	}
	names[n.path] = n.file
}

// applied returns content after an operation.
func applied(b []byte, op Op) []byte {
	end := op.Size
	if op.Kind == Write {
		end = op.Offset + int64(len(op.Data))
	}
	if grown := end - int64(len(b)); grown > 0 {
		b = append(b, make([]byte, grown)...)
	}
	if op.Kind == Truncate {
		return b[:op.Size]
	}
	copy(b[op.Offset:], op.Data)
	return b
}

// Leave writes the state after a cut into dir.
func (d *Disk) Leave(dir string, loss Loss, random *rand.Rand) error {
	names := map[string]uint64{}
	for path, file := range d.names {
		names[path] = file
	}
	survive := len(d.pending)
	switch loss {
	case All:
		survive = 0
	case Pages, Sectors:
		survive = random.IntN(len(d.pending) + 1)
	case None:
	}
	for _, n := range d.pending[:survive] {
		setName(names, n)
	}
	paths := make([]string, 0, len(names))
	for path := range names {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	chance := [...]float64{0.1, 0.5, 0.9}[random.IntN(3)]
	for _, path := range paths {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
			return err
		}
		if d.folders[names[path]] {
			if err := os.MkdirAll(full, 0o700); err != nil {
				return err
			}
			continue
		}
		if err := os.WriteFile(full, d.files[names[path]].left(loss, chance, random), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// left returns a file's content after a cut.
func (c *content) left(loss Loss, chance float64, random *rand.Rand) []byte {
	if loss == All || len(c.pending) == 0 {
		return c.durable
	}
	b := slices.Clone(c.durable)
	for _, op := range c.pending {
		switch {
		case loss == None || op.Kind == Truncate && random.Float64() < chance:
			b = applied(b, op)
		case op.Kind == Write:
			grain := int64(4096)
			if loss == Sectors {
				grain = 512
			}
			for at := op.Offset; at < op.Offset+int64(len(op.Data)); {
				end := min(op.Offset+int64(len(op.Data)), (at/grain+1)*grain)
				if random.Float64() < chance {
					b = applied(b, Op{Kind: Write, Offset: at, Data: op.Data[at-op.Offset : end-op.Offset]})
				}
				at = end
			}
		}
	}
	return b
}
