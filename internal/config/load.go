package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"gopkg.in/yaml.v3"
)

// ErrInvalid is behind every error of this package that the operator can mend; the process then exits with 2.
var ErrInvalid = errors.New("config: invalid configuration")

// Load reads the YAML file at path ("" for none), applies the environment, resolves secrets, fills defaults and checks
// everything. The error joins all faults and is ErrInvalid.
func Load(path string, environ []string) (*Config, error) {
	c := &Config{}
	faults := []error{readFile(c, path), applyEnv(c, environ), resolveSecrets(c)}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrInvalid, err)
	}
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("%w:\n%w", ErrInvalid, err)
	}
	return c, nil
}

func readFile(c *Config, path string) error {
	if path == "" {
		return nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("config file: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("config file %s: %w", path, err)
	}
	return nil
}

// Write stores c as YAML that Load reads back, readable by its owner alone because it holds secrets.
func Write(path string, c *Config) error {
	b, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	return nil
}
