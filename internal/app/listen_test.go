package app

import (
	"net"
	"strings"
	"testing"
)

func TestListenErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for addr, want := range map[string]string{
		ln.Addr().String(): "address already in use; stop the program that uses the port (it can be a stand-in",
		"127.0.0.1:99999":  "invalid port; set --addr to an address of this machine",
		"192.0.2.1:3000":   "; set --addr to an address of this machine",
	} {
		other, err := net.Listen("tcp", addr)
		if err == nil {
			other.Close()
			t.Errorf("%s can be listened on", addr)
			continue
		}
		if got := listenError(addr, err, "--addr").Error(); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
}
