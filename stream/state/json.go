package state

import (
	"encoding/json"
	"fmt"
	"io"
)

// WriteJSON writes rows as JSON lines, {"key":…,"value":…} in the order of the sequence: a store for other programs to
// read. Keys and values become JSON as encoding/json has it; bytes are base64. The first error ends it, be it of the
// sequence, of a value or of w.
func WriteJSON[K, V any](w io.Writer, rows *Rows[K, V]) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for k, v := range rows.All() {
		line := struct {
			Key   K `json:"key"`
			Value V `json:"value"`
		}{k, v}
		if err := enc.Encode(line); err != nil {
			return fmt.Errorf("state: row %v: %w", k, err)
		}
	}
	return rows.Err()
}
