package app

import (
	"errors"
	"fmt"
	"syscall"
)

// listenError says why a gateway cannot listen on addr, and what to do; setting names what
// holds the address.
func listenError(addr string, err error, setting string) error {
	advice := "set " + setting + " to an address of this machine and a port, such as 127.0.0.1:3000"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		advice = "stop the program that uses the port (it can be a stand-in of another gaff dev, which has the two ports after its own), or set " +
			setting + " to another port"
	case errors.Is(err, syscall.EACCES):
		advice = "ports below 1024 are for privileged programs; set " + setting + " to a higher one"
	}
	return fmt.Errorf("listen on %s: %w; %s", addr, err, advice)
}
