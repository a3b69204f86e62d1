package api

import (
	"fmt"
	"strings"
	"testing"

	"gaff/internal/access"
)

func TestStreamSlotsAreSharedByCredential(t *testing.T) {
	t.Parallel()
	var s slots
	key := func(id string) Identity { return Identity{Name: "same", Via: access.ViaKey, ID: id, KeyID: id} }
	var first func()
	for i := range maxStreamsEach {
		release, why := s.take(key("apk_1"))
		if release == nil {
			t.Fatalf("stream %d: %s", i, why)
		}
		first = release
	}
	if release, why := s.take(key("apk_1")); release != nil || !strings.Contains(why, "of this credential") {
		t.Errorf("over the share of one key: %q", why)
	}
	for i := 2; i < 2+maxStreams/maxStreamsEach-1; i++ {
		for range maxStreamsEach {
			if release, why := s.take(key(fmt.Sprint("apk_", i))); release == nil {
				t.Fatalf("key %d: %s", i, why)
			}
		}
	}
	if release, why := s.take(key("apk_99")); release != nil || strings.Contains(why, "of this credential") {
		t.Errorf("over the number in all: %q", why)
	}
	first()
	if release, why := s.take(key("apk_99")); release == nil {
		t.Errorf("after one was released: %s", why)
	}
}
