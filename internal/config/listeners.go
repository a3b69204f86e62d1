package config

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// checkListeners checks the second listener, and the certificates of both.
func (c *Config) checkListeners(k *checker) {
	if c.AdminAddr != "" {
		k.value(&c.AdminAddr, checkAddr(c.AdminAddr))
		if c.AdminAddr == c.Addr && !strings.HasSuffix(c.Addr, ":0") {
			k.value(&c.AdminAddr, errors.New("must differ from GAFF_ADDR; leave it empty if one address is to serve all"))
		}
	} else if c.AdminTLSCert != "" {
		k.value(&c.AdminTLSCert, errors.New("needs GAFF_ADMIN_ADDR; the certificate of GAFF_ADDR is GAFF_TLS_CERT"))
	}
	checkKeyPair(k, &c.TLSCert, &c.TLSKey)
	checkKeyPair(k, &c.AdminTLSCert, &c.AdminTLSKey)
}

// checkKeyPair checks that the files of a certificate and its key can be used.
func checkKeyPair(k *checker, cert, key *string) {
	for _, file := range []*string{cert, key} {
		if strings.Contains(*file, "-----BEGIN") { // it is not quoted: it may be a key
			k.part(file, "", "", "must be the path of a file, not its content")
			return
		}
	}
	switch {
	case *cert == "" && *key == "":
	case *key == "":
		k.value(cert, fmt.Errorf("needs the private key: set %s", k.fields[key].name))
	case *cert == "":
		k.value(key, fmt.Errorf("needs the certificate: set %s", k.fields[cert].name))
	default:
		if _, err := tls.LoadX509KeyPair(*cert, *key); err != nil {
			file := cert
			if p, ok := errors.AsType[*fs.PathError](err); ok && p.Path == *key {
				file = key
			}
			k.value(file, fmt.Errorf("cannot be used: %s", reason(err)))
		}
	}
}
