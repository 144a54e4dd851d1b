// The reference of this gateway: its own document, calls to itself, no validator elsewhere.
window.reference = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  showCommonExtensions: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
