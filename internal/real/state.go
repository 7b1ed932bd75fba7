package real

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Endpoint is where one part is reached. Fields that do not belong to the part are empty.
type Endpoint struct {
	PID              int      `json:"pid"`
	Brokers          []string `json:"brokers,omitempty"`
	LogDir           string   `json:"log_dir,omitempty"`           // Kafka's log segments
	ConnectionString string   `json:"connection_string,omitempty"` // Blob
	URL              string   `json:"url,omitempty"`               // PostgreSQL's superuser
}

// Stack is a set of running parts and the supervisor that owns them.
type Stack struct {
	PID   int               `json:"pid"` // the supervisor: its end is the end of every part
	Parts map[Part]Endpoint `json:"parts"`
}

// The files of a supervised folder.
const (
	stackFile  = "real.json"      // written when every part is ready, removed when they stop
	aliveFile  = "alive.lock"     // locked by the supervisor as long as it lives
	startFile  = "start.lock"     // locked while somebody starts or ends a supervisor
	leaseFile  = "lease.lock"     // locked (shared) by each process that uses a leased stack
	logFile    = "supervisor.log" // what the supervisor and its start had to say
	configFile = "config.yaml"    // a configuration of millrun that uses the parts
)

// readStack is the stack written in dir; fs.ErrNotExist when there is none.
func readStack(dir string) (*Stack, error) {
	b, err := os.ReadFile(filepath.Join(dir, stackFile))
	if err != nil {
		return nil, fmt.Errorf("real: %w", err)
	}
	s := &Stack{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("real: %s: %w", filepath.Join(dir, stackFile), err)
	}
	return s, nil
}

// writeStack makes the stack visible in one step.
func writeStack(dir string, s *Stack) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("real: %w", err)
	}
	return writePrivate(filepath.Join(dir, stackFile), append(b, '\n'))
}

// writePrivate replaces a file that may hold a password, whole or not at all.
func writePrivate(path string, b []byte) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return fmt.Errorf("real: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("real: %w", err)
	}
	return nil
}

// removeFiles removes files of dir that may be absent.
func removeFiles(dir string, names ...string) error {
	var errs []error
	for _, n := range names {
		if err := os.Remove(filepath.Join(dir, n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("real: %w", err))
		}
	}
	return errors.Join(errs...)
}
