package events

import "time"

// This file turns records into goavro's generic form and back. Reading takes each field by name and leaves the zero
// value where it is absent or of another type, so that schemas may grow and shrink.

func rawNative(r RawImage) map[string]any {
	return map[string]any{
		"image_id": r.ImageID, "tenant": r.Tenant, "origin": r.Origin,
		"received_at": r.ReceivedAt.UTC(), "expires_at": r.ExpiresAt.UTC(),
		"content_type": r.ContentType, "bytes": r.Bytes, "sha256": r.SHA256[:],
		"blob": blobNative(r.Blob), "trace": r.Trace,
	}
}

func rawFrom(m map[string]any) RawImage {
	return RawImage{
		ImageID: get[string](m, "image_id"), Tenant: get[string](m, "tenant"), Origin: get[string](m, "origin"),
		ReceivedAt: get[time.Time](m, "received_at").UTC(), ExpiresAt: get[time.Time](m, "expires_at").UTC(),
		ContentType: get[string](m, "content_type"), Bytes: get[int64](m, "bytes"), SHA256: digest(m, "sha256"),
		Blob: blobFrom(m), Trace: get[string](m, "trace"),
	}
}

func statusNative(s ImageStatus) map[string]any {
	archive := make([]any, len(s.Archive))
	for i, b := range s.Archive {
		archive[i] = map[string]any{"name": b.Name, "version_id": b.VersionID, "bytes": b.Bytes}
	}
	return map[string]any{
		"image_id": s.ImageID, "tenant": s.Tenant, "status": string(s.Status), "at": s.At.UTC(),
		"error_code": optionalString(s.ErrorCode), "attempt": int32(s.Attempt), "error": optionalString(s.Error),
		"receipt": s.Receipt, "expires_at": s.ExpiresAt.UTC(), "tenant_class": s.TenantClass, "origin": s.Origin,
		"duplicate": s.Duplicate, "format": optionalString(s.Format), "bytes": optional("long", s.Bytes),
		"width": optional("int", s.Width), "height": optional("int", s.Height),
		"processing_ms": optional("int", s.ProcessingMS), "archive": archive,
	}
}

func statusFrom(m map[string]any) ImageStatus {
	s := ImageStatus{
		ImageID: get[string](m, "image_id"), Tenant: get[string](m, "tenant"), Status: Status(get[string](m, "status")),
		At: get[time.Time](m, "at").UTC(), ErrorCode: value[string](m, "error_code", "string"),
		Attempt: int(get[int32](m, "attempt")), Error: value[string](m, "error", "string"),
		Receipt: get[string](m, "receipt"), ExpiresAt: get[time.Time](m, "expires_at").UTC(),
		TenantClass: get[string](m, "tenant_class"), Origin: get[string](m, "origin"),
		Duplicate: get[bool](m, "duplicate"), Format: value[string](m, "format", "string"),
		Bytes: pointer[int64](m, "bytes", "long"), Width: pointer[int32](m, "width", "int"),
		Height: pointer[int32](m, "height", "int"), ProcessingMS: pointer[int32](m, "processing_ms", "int"),
	}
	for _, b := range records(m, "archive") {
		s.Archive = append(s.Archive, ArchivedBlob{
			Name: get[string](b, "name"), VersionID: get[string](b, "version_id"), Bytes: get[int64](b, "bytes"),
		})
	}
	return s
}

func processedNative(p ProcessedImage) map[string]any {
	m := rawNative(p.RawImage)
	derivatives := make([]any, len(p.Derivatives))
	for i, d := range p.Derivatives {
		derivatives[i] = map[string]any{
			"name": d.Name, "step": d.Step, "version": d.Version, "content_type": d.ContentType,
			"bytes": d.Bytes, "sha256": d.SHA256[:], "blob": blobNative(d.Blob),
			"width": optionalSide(d.Width), "height": optionalSide(d.Height),
		}
	}
	steps := make([]any, len(p.Steps))
	for i, s := range p.Steps {
		steps[i] = map[string]any{"step": s.Step, "version": s.Version, "error": optionalString(s.Error)}
	}
	m["tenant_class"], m["source"], m["attempt"] = p.TenantClass, p.Source, int32(p.Attempt)
	m["started_at"], m["format"] = p.StartedAt.UTC(), p.Format
	m["width"], m["height"], m["frames"] = p.Width, p.Height, p.Frames
	m["derivatives"], m["steps"] = derivatives, steps
	return m
}

func processedFrom(m map[string]any) ProcessedImage {
	p := ProcessedImage{
		RawImage: rawFrom(m), TenantClass: get[string](m, "tenant_class"), Source: get[string](m, "source"),
		Attempt: int(get[int32](m, "attempt")), StartedAt: get[time.Time](m, "started_at").UTC(),
		Format: get[string](m, "format"), Width: get[int32](m, "width"), Height: get[int32](m, "height"),
		Frames: get[int32](m, "frames"),
	}
	for _, d := range records(m, "derivatives") {
		p.Derivatives = append(p.Derivatives, Derivative{
			Name: get[string](d, "name"), Step: get[string](d, "step"), Version: get[string](d, "version"),
			ContentType: get[string](d, "content_type"), Bytes: get[int64](d, "bytes"), SHA256: digest(d, "sha256"),
			Width: value[int32](d, "width", "int"), Height: value[int32](d, "height", "int"), Blob: blobFrom(d),
		})
	}
	for _, s := range records(m, "steps") {
		p.Steps = append(p.Steps, StepResult{
			Step: get[string](s, "step"), Version: get[string](s, "version"), Error: value[string](s, "error", "string"),
		})
	}
	return p
}

func blobNative(b Blob) map[string]any {
	return map[string]any{"container": b.Container, "name": b.Name}
}

func blobFrom(m map[string]any) Blob {
	b := get[map[string]any](m, "blob")
	return Blob{Container: get[string](b, "container"), Name: get[string](b, "name")}
}

// get is a field of m, or zero.
func get[T any](m map[string]any, field string) T {
	v, _ := m[field].(T)
	return v
}

// pointer is a nullable field; branch is goavro's name of the union's other type.
func pointer[T any](m map[string]any, field, branch string) *T {
	v, ok := get[map[string]any](m, field)[branch].(T)
	if !ok {
		return nil
	}
	return &v
}

// value is a nullable field, or zero.
func value[T any](m map[string]any, field, branch string) T {
	v, _ := get[map[string]any](m, field)[branch].(T)
	return v
}

func optional[T any](branch string, v *T) any {
	if v == nil {
		return nil
	}
	return map[string]any{branch: *v}
}

func optionalString(s string) any {
	if s == "" {
		return nil
	}
	return map[string]any{"string": s}
}

func optionalSide(n int32) any {
	if n == 0 {
		return nil
	}
	return map[string]any{"int": n}
}

func digest(m map[string]any, field string) (d [32]byte) {
	copy(d[:], get[[]byte](m, field))
	return d
}

func records(m map[string]any, field string) []map[string]any {
	var out []map[string]any
	for _, v := range get[[]any](m, field) {
		if r, ok := v.(map[string]any); ok {
			out = append(out, r)
		}
	}
	return out
}
