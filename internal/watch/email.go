package watch

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"gaff"
	"gaff/internal/alert"
)

// TLS of a connection to a mail server.
const (
	// StartTLS begins in clear text and requires the STARTTLS command.
	StartTLS = "starttls"
	// ImplicitTLS begins with TLS, as on port 465.
	ImplicitTLS = "tls"
	// NoTLS is for a server on this machine or a trusted network. No password is sent.
	NoTLS = "none"
)

// Email describes a channel that sends mail.
type Email struct {
	// Server is host:port.
	Server string
	// TLS is one of the constants; empty means ImplicitTLS on port 465, else StartTLS.
	TLS            string
	User, Password string
	From           string
	To             []string
}

// Check reports a fault, as "field: problem".
func (e Email) Check() error {
	host, port, err := net.SplitHostPort(e.Server)
	switch {
	case err != nil || host == "" || port == "":
		return fmt.Errorf("server: %.80q is not host:port, such as smtp.example.com:587", e.Server)
	case e.TLS != "" && e.TLS != StartTLS && e.TLS != ImplicitTLS && e.TLS != NoTLS:
		return fmt.Errorf("tls: unknown value %.40q: want starttls, tls or none", e.TLS)
	case e.TLS == NoTLS && e.Password != "":
		return errors.New("tls: a password is not sent without TLS: write starttls or tls, or remove the password")
	case len(e.To) == 0:
		return errors.New("to: names no recipient")
	}
	for _, address := range append([]string{e.From}, e.To...) {
		if _, err := mail.ParseAddress(address); err != nil {
			return fmt.Errorf("%.80q is not a mail address", address)
		}
	}
	return nil
}

func (e Email) tls() string {
	if e.TLS != "" {
		return e.TLS
	}
	if _, port, _ := net.SplitHostPort(e.Server); port == "465" {
		return ImplicitTLS
	}
	return StartTLS
}

// Channel makes the channel.
func (e Email) Channel() Channel {
	return Channel{About: "email to " + strings.Join(e.To, ", ") + " by " + e.Server, Send: e.send}
}

// mailTime bounds the sending of one message.
const mailTime = 45 * time.Second

func (e Email) send(ctx context.Context, text alert.Text) error {
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	from, err := mail.ParseAddress(e.From)
	if err != nil {
		return gaff.Discard(fmt.Errorf("from: %w", err))
	}
	host, _, _ := net.SplitHostPort(e.Server)
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", e.Server)
	if err != nil {
		return fmt.Errorf("connect to the mail server: %w", err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	secure := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if e.tls() == ImplicitTLS {
		conn = tls.Client(conn, secure)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return mailError("greet", err)
	}
	defer func() { _ = c.Close() }()
	if e.tls() == StartTLS {
		if err := c.StartTLS(secure); err != nil {
			return mailError("begin TLS with", err)
		}
	}
	if e.Password != "" {
		if err := c.Auth(smtp.PlainAuth("", e.User, e.Password, host)); err != nil {
			return mailError("log in to", err)
		}
	}
	return e.transfer(c, from, text)
}

// transfer hands the message to the server.
func (e Email) transfer(c *smtp.Client, from *mail.Address, text alert.Text) error {
	if err := c.Mail(from.Address); err != nil {
		return mailError("name the sender to", err)
	}
	for _, to := range e.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return gaff.Discard(fmt.Errorf("to: %w", err))
		}
		if err := c.Rcpt(address.Address); err != nil {
			return mailError("name a recipient to", err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return mailError("send the message to", err)
	}
	if _, err := w.Write(e.message(from, text, time.Now())); err != nil {
		return mailError("send the message to", err)
	}
	if err := w.Close(); err != nil {
		return mailError("send the message to", err)
	}
	// The message was accepted: an error of the farewell changes nothing.
	_ = c.Quit()
	return nil
}

// message writes the mail.
func (e Email) message(from *mail.Address, text alert.Text, now time.Time) []byte {
	var b bytes.Buffer
	var unique [16]byte
	_, _ = rand.Read(unique[:]) // never fails
	_, domain, _ := strings.Cut(from.Address, "@")
	oneLine := strings.NewReplacer("\r", " ", "\n", " ")
	for _, h := range [...][2]string{
		{"From", from.String()}, {"To", strings.Join(e.To, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", text.Subject)},
		{"Date", now.Format(time.RFC1123Z)}, {"Message-ID", "<" + hex.EncodeToString(unique[:]) + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		b.WriteString(h[0] + ": " + oneLine.Replace(h[1]) + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	_, _ = q.Write([]byte(strings.ReplaceAll(text.Body(), "\n", "\r\n"))) // to memory: never fails
	_ = q.Close()
	return b.Bytes()
}

// smtpError is an answer of the mail server, or a fault of the connection to it.
type smtpError struct {
	doing string
	err   error
}

func (e *smtpError) Error() string { return e.doing + " the mail server: " + e.err.Error() }
func (e *smtpError) Unwrap() error { return e.err }

// LogText is the part of the error for logs: a server's text may name recipients.
func (e *smtpError) LogText() string {
	if answer, ok := errors.AsType[*textproto.Error](e.err); ok {
		return fmt.Sprintf("%s the mail server: answered %d", e.doing, answer.Code)
	}
	return e.doing + " the mail server"
}

func mailError(doing string, err error) error { return &smtpError{doing, err} }
