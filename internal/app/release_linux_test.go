package app

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOnlyUnchangedMappingsOfTheBinaryAreReleased(t *testing.T) {
	t.Parallel()
	const smaps = `00400000-01b13000 r-xp 00000000 fe:00 10019030                           /opt/my gaff
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
01b13000-03366000 r--p 01713000 fe:00 10019030                           /opt/my gaff
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
03366000-0351d000 rw-p 02f66000 fe:00 10019030                           /opt/my gaff
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
0351d000-05575000 rw-p 00000000 00:00 0
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
05575000-05576000 r--p 02f67000 fe:00 10019030                           /opt/my gaff
Size: 4 kB
Anonymous:      4 kB
VmFlags: rd mr mw me
7f0000000000-7f0000001000 r--s 00000000 fe:00 10019438                   /opt/my gaff
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
7f0000001000-7f0000002000 r--p 00000000 fe:00 10019439                   /opt/other
Size: 4 kB
Anonymous:      0 kB
VmFlags: rd mr mw me
nonsense
`
	want := []mapping{{0x400000, 0x1b13000}, {0x1b13000, 0x3366000}}
	if diff := cmp.Diff(want, binaryMappings(smaps, "/opt/my gaff"), cmp.AllowUnexported(mapping{})); diff != "" {
		t.Errorf("mappings (-want +got):\n%s", diff)
	}
}
