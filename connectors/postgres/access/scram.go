package access

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// scramIterations is PostgreSQL's own default (scram_iterations).
const scramIterations = 4096

// newVerifier is the SCRAM verifier to store for the login, or "" when there is nothing to change: no password was given,
// or the stored verifier is already one of it. A server whose administrator may not read verifiers gets a new one each
// time, of the same password.
func newVerifier(ctx context.Context, conn *pgx.Conn, login string, passwords map[string]string) (string, error) {
	password, given := passwords[login]
	if !given {
		return "", nil
	}
	for _, r := range password {
		if r < 0x20 || r > 0x7e {
			return "", fmt.Errorf("access: the password of %s has a character outside printable ASCII: choose another", login)
		}
	}
	if password == "" {
		return "", fmt.Errorf("access: the password of %s is empty", login)
	}
	var stored *string
	err := conn.QueryRow(ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = $1", login).Scan(&stored)
	var denied *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows), errors.As(err, &denied) && denied.Code == "42501":
	case err != nil:
		return "", fmt.Errorf("access: read the password state of %s: %w", login, err)
	case stored != nil && matches(*stored, password):
		return "", nil
	}
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the process instead
	return scramVerifier(password, salt, scramIterations)
}

// scramVerifier writes the verifier as PostgreSQL stores it: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
// (RFC 5803 with RFC 7677's hash).
func scramVerifier(password string, salt []byte, iterations int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, password, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("access: derive a SCRAM key: %w", err)
	}
	stored := sha256.Sum256(sign(salted, "Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(sign(salted, "Server Key"))), nil
}

func sign(key []byte, message string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(message))
	return h.Sum(nil)
}

// matches says whether verifier is one of password.
func matches(verifier, password string) bool {
	rest, ok := strings.CutPrefix(verifier, "SCRAM-SHA-256$")
	head, _, found := strings.Cut(rest, "$")
	iterations, saltText, colon := strings.Cut(head, ":")
	n, err := strconv.Atoi(iterations)
	salt, err2 := base64.StdEncoding.DecodeString(saltText)
	if !ok || !found || !colon || err != nil || err2 != nil || n <= 0 {
		return false
	}
	again, err := scramVerifier(password, salt, n)
	return err == nil && subtle.ConstantTimeCompare([]byte(again), []byte(verifier)) == 1
}
