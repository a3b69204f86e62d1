//go:build slim

package all_test

import (
	"strings"
	"testing"

	"gaff/destination"
	"gaff/destination/broker/all"
)

func TestSlimBuildRejectsQueues(t *testing.T) {
	t.Parallel()
	_, err := all.Open(destination.Spec{Name: "q", Kind: destination.KindQueue, URL: "nats://127.0.0.1:4222", Topic: "t"}, nil)
	if err == nil || !strings.Contains(err.Error(), "run the full build") {
		t.Errorf("Open: %v, want an error that names the full build", err)
	}
}
