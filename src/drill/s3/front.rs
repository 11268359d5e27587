//! The thin layer in front of s3s-fs: what AWS does, clients rely on, and s3s-fs does not do.
//!
//! - `If-Match` on GET and HEAD is honoured (412);
//! - listings carry ETags;
//! - a request signed for another region gets 301 with `x-amz-bucket-region` and no Location;
//! - HeadBucket tells the region;
//! - GetBucketVersioning says "not enabled" instead of 501;
//! - a key with read rights only gets 403 on everything that writes.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput, CompleteMultipartUploadOutput,
    CopyObjectInput, CopyObjectOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag, ETagCondition, GetBucketLocationInput,
    GetBucketLocationOutput, GetBucketVersioningInput, GetBucketVersioningOutput, GetObjectInput, GetObjectOutput,
    HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListBucketsInput, ListBucketsOutput,
    ListObjectsInput, ListObjectsOutput, ListObjectsV2Input, ListObjectsV2Output, ListPartsInput, ListPartsOutput,
    Object, PutObjectInput, PutObjectOutput, UploadPartCopyInput, UploadPartCopyOutput, UploadPartInput,
    UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;

use super::REGION;

/// s3s-fs and the layer in front of it.
#[derive(Debug)]
pub(super) struct Front {
    files: Arc<FileSystem>,
}

impl Front {
    pub(super) fn new(files: Arc<FileSystem>) -> Self {
        Self { files }
    }

    /// The ETag of an object as s3s-fs would tell it on HEAD.
    async fn etag(&self, bucket: &str, key: &str) -> S3Result<Option<ETag>> {
        let mut input = HeadObjectInput::default();
        bucket.clone_into(&mut input.bucket);
        key.clone_into(&mut input.key);
        let request = S3Request {
            input,
            method: axum::http::Method::HEAD,
            uri: axum::http::Uri::default(),
            headers: HeaderMap::new(),
            extensions: axum::http::Extensions::new(),
            credentials: None,
            region: None,
            service: None,
            trailing_headers: None,
        };
        Ok(self.files.head_object(request).await?.output.e_tag)
    }

    async fn add_etags(&self, bucket: &str, objects: Option<&mut Vec<Object>>) -> S3Result<()> {
        for object in objects.into_iter().flatten() {
            if let Some(key) = object.key.as_deref() {
                // An object that vanishes during the listing stays without one.
                object.e_tag = self.etag(bucket, key).await.ok().flatten();
            }
        }
        Ok(())
    }

    async fn check_match(&self, bucket: &str, key: &str, wanted: Option<&ETagCondition>) -> S3Result<()> {
        let Some(ETagCondition::ETag(wanted)) = wanted else {
            return Ok(());
        };
        match self.etag(bucket, key).await? {
            Some(etag) if etag.strong_cmp(wanted) => Ok(()),
            _ => Err(s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")),
        }
    }
}

/// As AWS answers a request that was signed for a region where the bucket is not.
fn check_region<T>(request: &S3Request<T>) -> S3Result<()> {
    if request.region.as_ref().is_none_or(|region| region.as_str() == REGION) {
        return Ok(());
    }
    let mut error = S3Error::with_message(
        S3ErrorCode::PermanentRedirect,
        "The bucket you are attempting to access must be addressed using the specified endpoint.",
    );
    error.set_status_code(StatusCode::MOVED_PERMANENTLY);
    error.set_headers(HeaderMap::from_iter([(
        axum::http::HeaderName::from_static("x-amz-bucket-region"),
        HeaderValue::from_static(REGION),
    )]));
    Err(error)
}

/// Operations that go through as they are once the region is right.
macro_rules! pass_through {
    ($($name:ident($input:ty) -> $output:ty;)*) => {
        #[async_trait::async_trait]
        impl S3 for Front {
            $(async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                check_region(&request)?;
                self.files.$name(request).await
            })*

            async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
                check_region(&request)?;
                let GetObjectInput { bucket, key, if_match, .. } = &request.input;
                self.check_match(bucket, key, if_match.as_ref()).await?;
                self.files.get_object(request).await
            }

            async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
                check_region(&request)?;
                let HeadObjectInput { bucket, key, if_match, .. } = &request.input;
                self.check_match(bucket, key, if_match.as_ref()).await?;
                self.files.head_object(request).await
            }

            async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
                check_region(&request)?;
                let mut response = self.files.head_bucket(request).await?;
                response.output.bucket_region = Some(REGION.to_owned());
                Ok(response)
            }

            async fn list_objects(&self, request: S3Request<ListObjectsInput>) -> S3Result<S3Response<ListObjectsOutput>> {
                check_region(&request)?;
                let bucket = request.input.bucket.clone();
                let mut response = self.files.list_objects(request).await?;
                self.add_etags(&bucket, response.output.contents.as_mut()).await?;
                Ok(response)
            }

            async fn list_objects_v2(
                &self,
                request: S3Request<ListObjectsV2Input>,
            ) -> S3Result<S3Response<ListObjectsV2Output>> {
                check_region(&request)?;
                let bucket = request.input.bucket.clone();
                let mut response = self.files.list_objects_v2(request).await?;
                self.add_etags(&bucket, response.output.contents.as_mut()).await?;
                Ok(response)
            }

            async fn get_bucket_versioning(
                &self,
                request: S3Request<GetBucketVersioningInput>,
            ) -> S3Result<S3Response<GetBucketVersioningOutput>> {
                check_region(&request)?;
                // An empty answer means that versioning was never switched on.
                Ok(S3Response::new(GetBucketVersioningOutput::default()))
            }
        }
    };
}

pass_through! {
    abort_multipart_upload(AbortMultipartUploadInput) -> AbortMultipartUploadOutput;
    complete_multipart_upload(CompleteMultipartUploadInput) -> CompleteMultipartUploadOutput;
    copy_object(CopyObjectInput) -> CopyObjectOutput;
    create_multipart_upload(CreateMultipartUploadInput) -> CreateMultipartUploadOutput;
    delete_object(DeleteObjectInput) -> DeleteObjectOutput;
    delete_objects(DeleteObjectsInput) -> DeleteObjectsOutput;
    get_bucket_location(GetBucketLocationInput) -> GetBucketLocationOutput;
    list_buckets(ListBucketsInput) -> ListBucketsOutput;
    list_parts(ListPartsInput) -> ListPartsOutput;
    put_object(PutObjectInput) -> PutObjectOutput;
    upload_part(UploadPartInput) -> UploadPartOutput;
    upload_part_copy(UploadPartCopyInput) -> UploadPartCopyOutput;
}

/// Who may do what: everybody needs a signature, and one key may only read.
#[derive(Debug)]
pub(super) struct Rights {
    /// The access key that may only read.
    pub(super) read_only: String,
}

#[async_trait::async_trait]
impl S3Access for Rights {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(credentials) = context.credentials() else {
            return Err(s3_error!(AccessDenied, "Signature is required"));
        };
        let operation = context.s3_op().name();
        let reads = ["Get", "Head", "List"].iter().any(|verb| operation.starts_with(verb));
        if credentials.access_key == self.read_only && !reads {
            return Err(s3_error!(AccessDenied, "Access Denied"));
        }
        Ok(())
    }
}
