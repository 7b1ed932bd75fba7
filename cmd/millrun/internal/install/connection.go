package install

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Connection is connection.json: how to reach every part of a running installation. It holds secrets.
type Connection struct {
	HTTPURL              string            `json:"http_url"`
	APIKeys              map[string]string `json:"api_keys"`               // by tenant
	TeamKeys             map[string]string `json:"team_keys"`              // by team, for /v1/changes
	OperatorKey          string            `json:"operator_key,omitempty"` // scopes operate and admin
	KafkaBrokers         []string          `json:"kafka_brokers"`
	BlobConnectionString string            `json:"blob_connection_string"`
	Databases            map[string]string `json:"databases"` // URL by login, and of the superuser as admin
	Admin                string            `json:"admin"`     // the superuser's URL
	PID                  int               `json:"pid"`
}

// ReadConnection reads the connection.json of an installation.
func ReadConnection(dir string) (*Connection, error) {
	b, err := os.ReadFile(filepath.Join(dir, ConnectionFile))
	if err != nil {
		return nil, fmt.Errorf("install: %w", err)
	}
	var c Connection
	if err := json.Unmarshal(b, &c); err != nil {
		return nil, fmt.Errorf("install: %s: %w", ConnectionFile, err)
	}
	return &c, nil
}
