package powercut_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"gaff/internal/powercut"
)

func leave(t *testing.T, loss powercut.Loss, ops ...powercut.Op) string {
	t.Helper()
	var d powercut.Disk
	for _, op := range ops {
		d.Do(op)
	}
	dir := t.TempDir()
	if err := d.Leave(dir, loss, rand.New(rand.NewPCG(1, 1))); err != nil {
		t.Fatal(err)
	}
	return dir
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		return "missing"
	}
	return string(text)
}

func TestDiskLosesWhatIsNotSynced(t *testing.T) {
	t.Parallel()
	ops := []powercut.Op{
		{Kind: powercut.Create, File: 1, Path: "a"},
		{Kind: powercut.Write, File: 1, Path: "a", Data: []byte("one")},
		{Kind: powercut.Sync, File: 1, Path: "a"},
		{Kind: powercut.Write, File: 1, Path: "a", Offset: 3, Data: []byte("two")},
		{Kind: powercut.Create, File: 2, Path: "b"},
	}
	dir := leave(t, powercut.All, ops...)
	if got := read(t, filepath.Join(dir, "a")); got != "one" {
		t.Errorf("with all losses a is %q, want %q", got, "one")
	}
	if got := read(t, filepath.Join(dir, "b")); got != "missing" {
		t.Errorf("with all losses b is %q, want it missing", got)
	}
	dir = leave(t, powercut.None, ops...)
	if got := read(t, filepath.Join(dir, "a")); got != "onetwo" {
		t.Errorf("without losses a is %q, want %q", got, "onetwo")
	}
}

func TestDiskRenamesAfterSyncOfFolder(t *testing.T) {
	t.Parallel()
	ops := []powercut.Op{
		{Kind: powercut.Create, File: 1, Path: "part"},
		{Kind: powercut.Write, File: 1, Path: "part", Data: []byte("film")},
		{Kind: powercut.Sync, File: 1, Path: "part"},
		{Kind: powercut.Rename, File: 1, Path: "part", To: "film"},
	}
	if got := read(t, filepath.Join(leave(t, powercut.All, ops...), "film")); got != "missing" {
		t.Errorf("before the folder is synced the new name has %q, want it missing", got)
	}
	ops = append(ops, powercut.Op{Kind: powercut.SyncDir, File: 9, Path: ""})
	if got := read(t, filepath.Join(leave(t, powercut.All, ops...), "film")); got != "film" {
		t.Errorf("after the folder is synced the new name has %q, want %q", got, "film")
	}
}

func TestDiskTearsWritesIntoSectors(t *testing.T) {
	t.Parallel()
	data := make([]byte, 64*512)
	for i := range data {
		data[i] = 'x'
	}
	torn := read(t, filepath.Join(leave(t, powercut.Sectors,
		powercut.Op{Kind: powercut.Create, File: 1, Path: "a"},
		powercut.Op{Kind: powercut.SyncDir, File: 9},
		powercut.Op{Kind: powercut.Write, File: 1, Path: "a", Data: data},
	), "a"))
	whole := 0
	for at := 0; at+512 <= len(torn); at += 512 {
		switch torn[at : at+512] {
		case string(data[:512]):
			whole++
		case string(make([]byte, 512)):
		default:
			t.Fatalf("sector %d is torn", at/512)
		}
	}
	if whole == 0 || whole == 64 {
		t.Errorf("%d of 64 sectors survive, want some", whole)
	}
}

func TestSameSeedCutsAtTheSamePlaces(t *testing.T) {
	t.Parallel()
	ops := make([]powercut.Op, 500)
	for i := range ops {
		ops[i] = powercut.Op{Kind: powercut.Write, Offset: 1}
	}
	first := powercut.Points(ops, 0, 20, rand.New(rand.NewPCG(7, 7)))
	second := powercut.Points(ops, 0, 20, rand.New(rand.NewPCG(7, 7)))
	if len(first) != 20 {
		t.Fatalf("%d places, want 20", len(first))
	}
	for i := range first {
		if first[i] != second[i] {
			t.Errorf("place %d is %d and %d", i, first[i], second[i])
		}
	}
}
