package watch_test

import (
	"bufio"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"testing"

	"gaff/internal/alert"
	"gaff/internal/eventually"
	"gaff/internal/watch"
)

// mailServer takes one message and returns it. refuse is a command that it refuses.
func mailServer(t *testing.T, refuse string) (addr string, messages <-chan string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	got := make(chan string, 1)
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		fmt.Fprint(conn, "220 test ESMTP\r\n")
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			switch verb, _, _ := strings.Cut(strings.TrimSpace(line), " "); {
			case verb == refuse:
				fmt.Fprint(conn, "550 no such user secret@example.com\r\n")
			case verb == "DATA":
				fmt.Fprint(conn, "354 go on\r\n")
				var b strings.Builder
				for line, _ = in.ReadString('\n'); line != ".\r\n"; line, err = in.ReadString('\n') {
					if err != nil {
						return
					}
					b.WriteString(strings.TrimPrefix(line, "."))
				}
				got <- b.String()
				fmt.Fprint(conn, "250 queued\r\n")
			case verb == "QUIT":
				fmt.Fprint(conn, "221 bye\r\n")
				return
			default:
				fmt.Fprint(conn, "250 ok\r\n")
			}
		}
	}()
	return ln.Addr().String(), got
}

func TestMailHasSubjectAndText(t *testing.T) {
	t.Parallel()
	addr, messages := mailServer(t, "")
	e := watch.Email{Server: addr, TLS: watch.NoTLS, From: "gaff <gaff@example.com>", To: []string{"Ops <ops@example.com>", "night@example.com"}}
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	text := alert.NewText([]alert.Item{{Active: true, Title: "Größe\r\nBcc: x@example.com", Since: "now"}}, "")
	if err := e.Channel().Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	m, err := mail.ReadMessage(strings.NewReader(eventually.Receive(t, "the mail", messages)))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.Contains(subject, "Größe") {
		t.Errorf("subject %q, %v", subject, err)
	}
	if m.Header.Get("Bcc") != "" {
		t.Error("a title became a header")
	}
	for _, name := range []string{"From", "To", "Date", "Message-Id", "Auto-Submitted"} {
		if m.Header.Get(name) == "" {
			t.Errorf("the header %s is missing", name)
		}
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || !strings.Contains(string(body), "Größe") {
		t.Errorf("body %q, %v", body, err)
	}
}

func TestRefusedMailIsAnErrorWhoseLogTextNamesNobody(t *testing.T) {
	t.Parallel()
	addr, _ := mailServer(t, "RCPT")
	e := watch.Email{Server: addr, TLS: watch.NoTLS, From: "gaff@example.com", To: []string{"ops@example.com"}}
	err := e.Channel().Send(t.Context(), alert.Text{})
	logged, ok := err.(interface{ LogText() string })
	if !ok || strings.Contains(logged.LogText(), "secret@example.com") || !strings.Contains(logged.LogText(), "550") {
		t.Errorf("error %v: want a text for logs with the code and no address", err)
	}
}

func TestServerWithoutTLSGetsNoMail(t *testing.T) {
	t.Parallel()
	addr, messages := mailServer(t, "STARTTLS")
	e := watch.Email{Server: addr, From: "gaff@example.com", To: []string{"ops@example.com"}}
	if err := e.Channel().Send(t.Context(), alert.Text{}); err == nil {
		t.Error("no error of a server without TLS")
	}
	select {
	case m := <-messages:
		t.Errorf("the server got %q in clear text", m)
	default:
	}
}

func TestEmailCheck(t *testing.T) {
	t.Parallel()
	good := watch.Email{Server: "smtp.example.com:587", From: "gaff@example.com", To: []string{"ops@example.com"}, User: "u", Password: "p"}
	if err := good.Check(); err != nil {
		t.Errorf("a complete description: %v", err)
	}
	for what, change := range map[string]func(*watch.Email){
		"no port":                    func(e *watch.Email) { e.Server = "smtp.example.com" },
		"no recipient":               func(e *watch.Email) { e.To = nil },
		"no sender":                  func(e *watch.Email) { e.From = "" },
		"a recipient of two lines":   func(e *watch.Email) { e.To = []string{"a@example.com\r\nBcc: b@example.com"} },
		"unknown TLS":                func(e *watch.Email) { e.TLS = "ssl" },
		"a password in clear text":   func(e *watch.Email) { e.TLS = watch.NoTLS },
		"a recipient without domain": func(e *watch.Email) { e.To = []string{"ops"} },
	} {
		e := good
		change(&e)
		if err := e.Check(); err == nil {
			t.Errorf("%s is taken", what)
		}
	}
}
