package blobd

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
)

// errorCode is a value of x-ms-error-code.
type errorCode string

const (
	codeAuthFailed         errorCode = "AuthenticationFailed"
	codeAuthzFailure       errorCode = "AuthorizationFailure"
	codeAuthzPermission    errorCode = "AuthorizationPermissionMismatch"
	codeAuthzProtocol      errorCode = "AuthorizationProtocolMismatch"
	codeAuthzResourceType  errorCode = "AuthorizationResourceTypeMismatch"
	codeAuthzService       errorCode = "AuthorizationServiceMismatch"
	codeAuthzSourceIP      errorCode = "AuthorizationSourceIPMismatch"
	codeBlobExists         errorCode = "BlobAlreadyExists"
	codeBlobNotFound       errorCode = "BlobNotFound"
	codeBlockCount         errorCode = "BlockCountExceedsLimit"
	codeConditionNotMet    errorCode = "ConditionNotMet"
	codeContainerExists    errorCode = "ContainerAlreadyExists"
	codeContainerImmutable errorCode = "ContainerImmutableStorageWithVersioningEnabled"
	codeContainerNotFound  errorCode = "ContainerNotFound"
	codeCRC64Mismatch      errorCode = "Crc64Mismatch"
	codeEmptyMetadataKey   errorCode = "EmptyMetadataKey"
	codeFeatureMissing     errorCode = "ImmutableStorageWithVersioningNotEnabled"
	codeImmutableHold      errorCode = "BlobImmutableDueToLegalHold"
	codeImmutablePolicy    errorCode = "BlobImmutableDueToPolicy"
	codeInternal           errorCode = "InternalError"
	codeInvalidAuthInfo    errorCode = "InvalidAuthenticationInfo"
	codeInvalidBlobOrBlock errorCode = "InvalidBlobOrBlock"
	codeInvalidBlobTier    errorCode = "InvalidBlobTier"
	codeInvalidBlobType    errorCode = "InvalidBlobType"
	codeInvalidBlockID     errorCode = "InvalidBlockId"
	codeInvalidBlockList   errorCode = "InvalidBlockList"
	codeInvalidHeader      errorCode = "InvalidHeaderValue"
	codeInvalidInput       errorCode = "InvalidInput"
	codeInvalidMD5         errorCode = "InvalidMd5"
	codeInvalidMetadata    errorCode = "InvalidMetadata"
	codeInvalidName        errorCode = "InvalidResourceName"
	codeInvalidOperation   errorCode = "InvalidOperation"
	codeInvalidQuery       errorCode = "InvalidQueryParameterValue"
	codeInvalidRange       errorCode = "InvalidRange"
	codeInvalidURI         errorCode = "InvalidUri"
	codeInvalidXML         errorCode = "InvalidXmlDocument"
	codeLeaseNotPresent    errorCode = "LeaseNotPresentWithBlobOperation"
	codeLockedPolicyDelete errorCode = "ImmutabilityPolicyDeleteOnLockedPolicy"
	codeMD5Mismatch        errorCode = "Md5Mismatch"
	codeMetadataTooLarge   errorCode = "MetadataTooLarge"
	codeMissingHeader      errorCode = "MissingRequiredHeader"
	codeMissingLength      errorCode = "MissingContentLengthHeader"
	codeMissingQuery       errorCode = "MissingRequiredQueryParameter"
	codeNoAuth             errorCode = "NoAuthenticationInformation"
	codeNotImplemented     errorCode = "NotImplemented"
	codeNotOnRootBlob      errorCode = "OperationNotAllowedOnRootBlob"
	codeOutOfRangeInput    errorCode = "OutOfRangeInput"
	codeOutOfRangeQuery    errorCode = "OutOfRangeQueryParameterValue"
	codePermanentDelete    errorCode = "PermanentDeleteNotAllowed"
	codeRequestTooLarge    errorCode = "RequestBodyTooLarge"
	codeResourceNotFound   errorCode = "ResourceNotFound"
	codeServerBusy         errorCode = "ServerBusy"
	codeSnapshotsPresent   errorCode = "SnapshotsPresent"
	codeUnauthOverwrite    errorCode = "UnauthorizedBlobOverwrite"
	codeUnsupportedHeader  errorCode = "UnsupportedHeader"
	codeUnsupportedVerb    errorCode = "UnsupportedHttpVerb"
)

// apiError is an answer other than success. Its message is for the client and never holds a key or a signature.
type apiError struct {
	status int
	code   errorCode
	msg    string
	header http.Header
}

func (e *apiError) Error() string { return fmt.Sprintf("blobd: %d %s: %s", e.status, e.code, e.msg) }

func fail(status int, code errorCode, format string, args ...any) *apiError {
	return &apiError{status: status, code: code, msg: fmt.Sprintf(format, args...)}
}

func badRequest(code errorCode, format string, args ...any) *apiError {
	return fail(http.StatusBadRequest, code, format, args...)
}

func conflict(code errorCode, format string, args ...any) *apiError {
	return fail(http.StatusConflict, code, format, args...)
}

func forbidden(code errorCode, format string, args ...any) *apiError {
	return fail(http.StatusForbidden, code, format, args...)
}

func errBlobNotFound() *apiError {
	return fail(http.StatusNotFound, codeBlobNotFound, "The specified blob does not exist.")
}

func errContainerNotFound() *apiError {
	return fail(http.StatusNotFound, codeContainerNotFound, "The specified container does not exist.")
}

func errConditionNotMet() *apiError {
	return fail(http.StatusPreconditionFailed, codeConditionNotMet,
		"The condition specified using HTTP conditional header(s) is not met.")
}

// errImmutable is the refusal for a protection found by version.protection.
func errImmutable(code errorCode) *apiError {
	if code == codeImmutableHold {
		return conflict(code, "This operation is not permitted as the blob is immutable due to one or more legal holds.")
	}
	return conflict(code, "This operation is not permitted as the blob is immutable due to a policy.")
}

// errorBody is Azure's XML for an error.
type errorBody struct {
	XMLName xml.Name `xml:"Error"`
	Code    string   `xml:"Code"`
	Message string   `xml:"Message"`
}

// asAPIError turns any error into an answer. What is no apiError is a fault of this server: its text stays out of
// the answer, since it may name files.
func asAPIError(err error) *apiError {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return fail(http.StatusRequestEntityTooLarge, codeRequestTooLarge,
			"The request body is too large: at most %d bytes are permitted.", tooLarge.Limit)
	}
	return fail(http.StatusInternalServerError, codeInternal, "The server encountered an internal error.")
}

// writeError answers with e; a HEAD and a 304 have no body.
func writeError(w http.ResponseWriter, method string, e *apiError) {
	h := w.Header()
	maps.Copy(h, e.header)
	h.Set("X-Ms-Error-Code", string(e.code))
	if method == http.MethodHead || e.status == http.StatusNotModified {
		w.WriteHeader(e.status)
		return
	}
	body, err := xml.Marshal(errorBody{Code: string(e.code), Message: e.msg + "\nRequestId:" + h.Get("X-Ms-Request-Id")})
	if err != nil {
		body = nil
	}
	body = append([]byte(xml.Header), body...)
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(e.status)
	_, _ = w.Write(body) // a client that has gone is no longer there to be told
}
